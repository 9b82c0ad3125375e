"""The loop that docs/probe.md shows runs as it stands and writes what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from thermotui.runlog.reader import RunLogReader

DOCUMENT = Path(__file__).parents[2] / "docs" / "probe.md"


def test_the_documented_loop_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loop = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)[0]
    exec(compile(loop, str(DOCUMENT), "exec"), {})
    with RunLogReader(tmp_path / "runs" / "mine.h5") as log:
        assert log.state().state == "finished"
        assert np.isfinite(log.read("steps")["loss"]).all()
        assert (log.read("reservoir")["temperature"] > 0).all()
        assert log.length("autocorrelation") == 1
