"""A stream as a Parquet file, the header's values in its metadata. Needs the extra `parquet`."""

from __future__ import annotations

from pathlib import Path

from thermotui.errors import InputError
from thermotui.runlog.exchange.selection import Selection


def write_parquet(selection: Selection, path: Path) -> None:
    """One column a scalar, named as in CSV; a row group a block. Not measured is null."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError("Parquet needs pyarrow; install it with: pip install pyarrow") from error
    columns = selection.columns()
    dtype = selection.reader.dtype(selection.stream)
    kinds = [
        pa.string() if dtype[column.field].base.kind == "S" else pa.from_numpy_dtype(dtype[column.field].base)
        for column in columns
    ]
    metadata = {name: str(value) for name, value in selection.reader.header.to_attributes().items()}
    schema = pa.schema([pa.field(c.name, kind) for c, kind in zip(columns, kinds, strict=True)], metadata=metadata)
    with pq.ParquetWriter(path, schema) as writer:
        for block in selection.blocks():
            arrays = []
            for column, kind in zip(columns, kinds, strict=True):
                values = column.values(block)
                plain = [text.decode("utf-8", "replace") for text in values.tolist()] if kind == pa.string() else values
                arrays.append(pa.array(plain, type=kind, from_pandas=True))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
