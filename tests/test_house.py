"""The house stands: what a command imports, what importing costs, and that the wings meet only in the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "inspect": {"torch", "textual", "trainers"},
    "scan": {"torch", "textual", "trainers"},
    "watch": {"torch", "trainers"},
    "compare": {"torch", "textual", "trainers"},
    "export": {"torch", "textual", "trainers"},
    "repair": {"torch", "textual", "trainers"},
}


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize("package", ["runlog.reader", "runlog.writer", "thermo.ledger", "detect.monitor", "tui.app"])
def test_the_reading_rooms_run_without_torch(package: str) -> None:
    assert "torch" not in modules_after(f"import thermotui.{package}")


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import thermotui") & {"torch", "numpy", "h5py", "textual", "rich", "typer"}


def test_help_lists_every_command_without_torch_or_textual() -> None:
    code = (
        "import contextlib, sys; sys.argv = ['thermotui', '--help']\n"
        "from thermotui.cli.main import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):\n    main()"
    )
    assert not modules_after(code) & {"torch", "textual"}


@pytest.mark.parametrize("command", sorted(HEAVY))
def test_a_reading_command_never_imports_what_it_does_not_need(command: str, sample_run: str, tmp_path: Path) -> None:
    arguments = {
        "watch": ["--once", sample_run],
        "compare": [sample_run, sample_run],
        "repair": [sample_run, "--output", str(tmp_path / "repaired.h5")],
    }.get(command, [sample_run])
    code = (
        f"import sys; sys.argv = ['thermotui', '{command}', *{arguments!r}]\n"
        "import contextlib, io\n"
        "from thermotui.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    try:\n        main()\n    except SystemExit as stop:\n        assert stop.code in (None, 0, 1), stop.code"
    )
    assert not modules_after(code) & HEAVY[command]
