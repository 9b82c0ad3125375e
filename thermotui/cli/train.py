"""`thermotui train FAMILY`: one subcommand a family, its options made from its dataclass; torch only when it runs."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import time
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from thermotui.cli.paths import path_option
from thermotui.cli.watched import on_a_terminal, train_watched
from thermotui.errors import InputError
from trainers.config import TrainConfig, refuse_existing, resolve, spelled
from trainers.families.registry import FAMILIES, Family

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Train a family of probabilistic model and log its thermodynamics."
)

RUN_OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "log": (Path | None, None, "Log to write; default: a telling name under runs/."),
    "resume": (Path | None, None, "Continue the run of this log from its last checkpoint; --steps may extend it."),
    "watch": (bool, False, "Open the screen on the run, which goes on when the screen is closed."),
}
"""Options of the command itself: type, default, help."""

WITH_RESUME = ("resume", "watch", "steps")
"""Options that may be given when a run is continued; all others are those that it was started with."""


def _parameters(entry: Family) -> list[inspect.Parameter]:
    """Parameters of a family's command, for typer: its own options, the common ones, and those of the command."""
    result = [inspect.Parameter("command_line", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for panel, options in (("Options of this family", entry.options), ("Common options", TrainConfig)):
        hints = typing.get_type_hints(options)
        for field in dataclasses.fields(options):
            kind, default = hints[field.name], entry.defaults.get(field.name, field.default)
            if kind == tuple[str, ...]:
                kind, default = list[str], list(default)
            result.append(_option(field.name, kind, default, field.metadata["help"], panel))
    result += [_option(name, *values, "The run") for name, values in RUN_OPTIONS.items()]
    return result


def _option(name: str, kind: Any, default: Any, help: str, panel: str) -> inspect.Parameter:
    declaration = [spelled(name)] if kind is bool and not default else []
    annotation = Annotated[kind, path_option(*declaration, help=help, rich_help_panel=panel)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _command(name: str, entry: Family) -> Callable[..., None]:
    def command(command_line: typer.Context, **values: Any) -> None:
        log, resume, watch = (values.pop(option) for option in RUN_OPTIONS)
        given = [n for n in (*values, *RUN_OPTIONS) if _is_given(command_line, n)]
        if resume is not None:
            refused = [spelled(option) for option in given if option not in WITH_RESUME]
            if refused:
                raise InputError(f"--resume continues the run with its own options; leave out {', '.join(refused)}.")
        config, options = resolve(name, {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})
        path = log or resume or default_log(name, config)
        if watch:
            if not on_a_terminal():
                raise InputError("--watch needs a terminal; leave it out, and use `thermotui watch`.")
            if resume is None:
                refuse_existing(path)
            # sys.argv is what this process was called with: `thermotui train FAMILY …`.
            arguments = [argument for argument in sys.argv[2:] if argument != "--watch"]
            sys.exit(train_watched(arguments if log or resume else [*arguments, "--log", str(path)], path))
        # A monitor shares the machine: threads that spin at OpenMP's barriers while another process has their core
        # made steps sixty times slower. Read once, when torch loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from thermotui.cli import training

        if resume is not None:
            sys.exit(training.run_resumed(name, resume, config.steps if "steps" in given else None))
        sys.exit(training.run(name, config, options, path))

    parameters = _parameters(entry)
    # Typer reads the options here; to the type checker a function has no signature of its own.
    told: Any = command
    told.__signature__ = inspect.Signature(parameters)
    told.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def default_log(family: str, config: TrainConfig) -> Path:
    """A telling name under runs/."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    size = f"b{config.batch_size}-lr{config.learning_rate:g}-k{config.ensemble}-s{config.seed}"
    return Path("runs") / f"{family}-{size}-{stamp}-{os.getpid()}.h5"


def _is_given(command_line: typer.Context, name: str) -> bool:
    source = command_line.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


for _name, _entry in FAMILIES.items():
    app.command(_name, help=_entry.help)(_command(_name, _entry))
