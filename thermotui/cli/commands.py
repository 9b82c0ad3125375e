"""The table of commands, and the typer group that imports a command's module alone when it is called."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from thermotui.cli.printing import until_nobody_reads
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


class LazyGroup(TyperGroup):
    """Lists commands from the table above; imports one only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def invoke(self, ctx: Any) -> Any:
        with until_nobody_reads():
            return super().invoke(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"thermotui.cli.{'import_' if cmd_name == 'import' else cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        from thermotui import __version__

        typer.echo(f"thermotui {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Watch the learning of a probabilistic model as the thermodynamic process that it is."""


UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for words it cannot use; it carries the class inside and names only its child."""


def run() -> object:
    """Do what the command line says; what the command returned. Raises InputError for words that cannot be used."""
    try:
        return app(standalone_mode=False)
    except UsageError as error:
        raise InputError(_sentence(error)) from error
    except typer.Abort as aborted:
        raise KeyboardInterrupt from aborted


def _sentence(error: Exception) -> str:
    """The words of a usage error, without those of the validator behind it; the help itself where none were given."""
    context = getattr(error, "ctx", None)
    said = str(getattr(error, "format_message", lambda: error)()).replace("Value error, ", "")
    if not said or said.startswith((" ", "\n", "Usage")):
        return said.strip() or "no command was given; see `thermotui --help`"
    return said if context is None else f"{said.rstrip('.')}; see `{context.command_path} --help`"
