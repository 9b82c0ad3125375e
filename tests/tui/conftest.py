"""Logs written once for all tests of the screen."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.tui import scripted

pytest.register_assert_rewrite("tests.tui.keys")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished log with two alerts; never changed by a test."""
    return scripted.scripted_log(tmp_path_factory.mktemp("finished") / "batch-10.h5")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of three runs and a file that is no run log; never changed by a test."""
    folder = tmp_path_factory.mktemp("workspace")
    created = scripted.CREATED
    scripted.scripted_log(folder / "alpha.h5", created=created)
    scripted.scripted_log(
        folder / "beta.h5", rows=1000, state="interrupted", stride=1, alerts=False, family="gaussian",
        created=created - 100,
    )  # fmt: skip
    scripted.scripted_log(
        folder / "gamma.h5", rows=600, state="failed", config={"learning_rate": 0.5, "seed": 1}, alerts=False,
        created=created - 200,
    )  # fmt: skip
    (folder / "delta.h5").write_bytes(b"not a run log\n" * 10)
    return folder


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the preferences and saved views of whoever runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture(autouse=True)
def one_system_of_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every screen sends 24-bit colours, as pictures do.

    Rich keeps with a style the codes of whichever system it was first sent in, and equal styles are shared by all
    tests of a process.
    """
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "truecolor")
