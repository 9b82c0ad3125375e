"""The roof: one sentence and an exit status for whatever goes wrong; short ways to the screen and `inspect`."""

from __future__ import annotations

import os
import sys

from thermotui.errors import InputError

FAULT = 70
"""Exit status of a fault of ours (EX_SOFTWARE of sysexits.h): 1 means that anomalies were found, 2 bad input."""


def main() -> None:
    """Entry point of the `thermotui` script: one sentence and status 2 for bad input, never a traceback."""
    # A file may name a filter, which HDF5 would look up among the plug-ins it finds; "::" is its word for "load none".
    # It is read when the library starts, and children inherit it.
    os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")
    try:
        status = _run(sys.argv[1:])
    except InputError as error:
        _leave(str(error), 2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:  # noqa: BLE001  # the last guard: whatever it is, it must not pass for "anomalies found"
        import traceback

        traceback.print_exc()
        sys.exit(FAULT)
    sys.exit(status if isinstance(status, int) else 0)


def _run(words: list[str]) -> object:
    # typer and pydantic take a third of the time in which the screen is up, and a fifth of that of `inspect`.
    if words[:1] == ["watch"]:
        from thermotui.cli.opening import open_screen, plain_request

        request = plain_request(words[1:])
        if request is not None:
            open_screen(request)
            return 0
    if words[:1] == ["inspect"]:
        from thermotui.cli import inspected
        from thermotui.cli.printing import until_nobody_reads

        asked = inspected.plain_request(words[1:])
        if asked is not None:
            with until_nobody_reads():
                inspected.print_inspection(asked.file, as_json=asked.as_json)
            return 0
    from thermotui.cli.commands import run

    return run()


def _leave(sentence: str, status: int) -> None:
    print(f"thermotui: {sentence}", file=sys.stderr)  # noqa: T201
    sys.exit(status)
