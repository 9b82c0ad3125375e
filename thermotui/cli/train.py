"""`thermotui train FAMILY`: one subcommand a family, its options made from its dataclass; torch only when it runs."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from trainers.config import TrainConfig, resolve
from trainers.families.registry import FAMILIES, Family

app = typer.Typer(no_args_is_help=True, help="Train a family of probabilistic model and log its thermodynamics.")


def _parameters(entry: Family) -> list[inspect.Parameter]:
    """Parameters of a family's command, for typer: its own options, the common ones, and those of the command line."""
    result = []
    for panel, options in (("Options of this family", entry.options), ("Common options", TrainConfig)):
        hints = typing.get_type_hints(options)
        for field in dataclasses.fields(options):
            default = entry.defaults.get(field.name, field.default)
            kind = hints[field.name]
            if kind == tuple[str, ...]:
                kind, default = list[str], list(default)
            info = typer.Option(help=field.metadata["help"], rich_help_panel=panel)
            result.append(_keyword(field.name, Annotated[kind, info], default))
    run = "The run"
    log = typer.Option(help="Log to write; default: a telling name under runs/.", rich_help_panel=run)
    result.append(_keyword("log", Annotated[Path | None, log], None))
    return result


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _command(name: str, entry: Family) -> Callable[..., None]:
    def command(**values: Any) -> None:
        log = values.pop("log")
        config, options = resolve(name, {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})
        from thermotui.cli.training import run

        sys.exit(run(name, config, options, log))

    parameters = _parameters(entry)
    command.__doc__ = entry.help
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads the options here
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


for _name, _entry in FAMILIES.items():
    app.command(_name, help=_entry.help)(_command(_name, _entry))
