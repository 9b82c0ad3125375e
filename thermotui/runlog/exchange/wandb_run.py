"""The history of a W&B offline run: a *.wandb file is a log of framed protobuf records. Needs wandb itself to parse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thermotui.errors import InputError

BLOCK = 32768
FILE_HEADER = 7
FRAME_HEADER = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_wandb(path: Path) -> Iterator[dict[str, Any]]:
    """Records of the run's history, with "_step" and "_timestamp", up to the last whole one of a run cut off."""
    try:
        from google.protobuf.message import DecodeError
        from wandb.proto.wandb_internal_pb2 import Record
    except ImportError as error:
        raise InputError(f"{path}: W&B files need wandb; install it with: pip install wandb") from error
    for data in read_frames(path):
        record = Record()
        try:
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                yield {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
        except (DecodeError, ValueError) as error:
            raise InputError(f"{path}: is a damaged W&B run file ({error})") from error


def read_frames(path: Path) -> Iterator[bytes]:
    """The records of a LevelDB-style log: frames of checksum, length and kind that never cross a block of 32 KiB."""
    with path.open("rb") as file:
        if not file.read(FILE_HEADER).startswith(b":W&B"):
            raise InputError(f"{path}: is not a W&B run file")
        parts: list[bytes] = []
        while True:
            left = BLOCK - file.tell() % BLOCK
            if left < FRAME_HEADER:
                file.seek(left, 1)
            head = file.read(FRAME_HEADER)
            length, kind = int.from_bytes(head[4:6], "little"), head[6:7]
            data = file.read(length)
            if len(head) < FRAME_HEADER or len(data) < length:
                return
            if kind[0] in (FULL, FIRST):
                parts = []
            parts.append(data)
            if kind[0] in (FULL, LAST):
                yield b"".join(parts)
