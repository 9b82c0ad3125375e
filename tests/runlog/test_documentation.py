"""docs/run-log.md says what the schema says."""

from __future__ import annotations

from pathlib import Path

from thermotui.runlog.schema import FORMAT_VERSION, ROLLUP_FACTORS, STREAMS

PAGE = Path(__file__).parents[2] / "docs" / "run-log.md"


def test_the_table_of_streams_is_the_schema() -> None:
    table = PAGE.read_text().partition("<!-- streams -->")[2].partition("<!-- /streams -->")[0]
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in table.strip().splitlines()[2:]]
    word = {True: "yes", False: "no"}
    assert rows == [
        (f"`{stream.name}`", stream.description, word[stream.rollups], word[stream.ordered])
        for stream in STREAMS.values()
    ]


def test_the_version_and_the_rollup_factors_are_the_schemas() -> None:
    text = PAGE.read_text()
    assert f"format version {FORMAT_VERSION}" in text
    *factors, last = map(str, ROLLUP_FACTORS)
    assert f"{', '.join(factors)} and {last}" in text
