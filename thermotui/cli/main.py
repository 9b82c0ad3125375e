"""The roof: finds the command by name and imports that command's module alone, so that `watch` never pays for torch."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from thermotui.errors import InputError

COMMANDS: dict[str, str] = {
    "demo": "Train on the bundled digits and watch it: start here.",
    "train": "Train a family of probabilistic model and log its thermodynamics.",
    "watch": "Watch run logs live in the terminal.",
    "inspect": "Say what a run is and whether its thermodynamics adds up.",
    "scan": "Find anomalies and valid reservoir intervals; exit status 1 if there are any.",
    "compare": "Compare runs: configuration, balance sheet, temperatures, alerts.",
    "plot": "Draw a run as PNG, SVG or PDF.",
    "export": "Write a log's streams as CSV, Parquet, NPZ or TensorBoard events.",
    "import": "Make a run log from the files of another tool.",
    "repair": "Save what is sound in a damaged log.",
    "replay": "Send a finished run through the live path.",
    "reproduce": "Reproduce the paper's Figure 3.",
}
"""Name and help of every command; `import` lives in import_.py, since the word is Python's."""


FAULT = 70
"""Exit status of a fault of ours: EX_SOFTWARE of sysexits.h."""


class LazyGroup(TyperGroup):
    """Lists commands from the table above; imports one only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"thermotui.cli.{'import_' if cmd_name == 'import' else cmd_name}")
        module.app._add_completion = False
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False)


@app.callback()
def root() -> None:
    """Watch the learning of a probabilistic model as the thermodynamic process that it is."""


def main() -> None:
    """Entry point of the `thermotui` script: one sentence and status 2 for bad input, never a traceback."""
    # A file may name a filter, which HDF5 would look up among the plug-ins it finds; "::" is its word for "load none".
    # It is read when the library starts, and children inherit it.
    os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")
    try:
        app()
    except InputError as error:
        print(f"thermotui: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our standard output went away (`| head`); the interpreter's own flush at exit must not
        # complain about it a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception:
        # Status 1 is the answer "anomalies found": a fault of ours must not look like it.
        traceback.print_exc()
        sys.exit(FAULT)
