"""Opening the screen: the shortest way from the command line to it, on which every import counts."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from thermotui.errors import InputError

if TYPE_CHECKING:
    from thermotui.analysis.actions import Actions
    from thermotui.analysis.delivery import Delivery
    from thermotui.tui.app import WatchApp

FIRST_LOOK = 1.0
"""Seconds to wait for the first look at the logs: where none can be read, no screen is opened."""
LOW_BANDWIDTH_INTERVAL = 5.0
COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
"""What Python sets LC_CTYPE to where the locale is C (PEP 538)."""
SWITCH_INTERVAL = 0.0005
"""Seconds that the thread which takes what was read waits, piece by piece, for the one that draws."""


class Request(NamedTuple):
    """What `thermotui watch` was asked for. paths: as given, none for the usual places; interval: in seconds."""

    paths: tuple[Path, ...] = ()
    interval: float = 1.0
    theme: str = ""
    ascii_only: bool = False
    low_bandwidth: bool = False
    fresh: bool = False
    actions: Actions | None = None


def plain_request(words: Sequence[str]) -> Request | None:
    """The request of a command line of nothing but paths and `--fresh`; None where that takes a parser to read.

    The parser and what it imports would take as long as a third of all else on the way to the screen.
    """
    paths = tuple(Path(word) for word in words if word != "--fresh")
    if any(word.startswith("-") or not word for word in words if word != "--fresh"):
        return None
    return Request(paths, fresh=len(paths) < len(words))


def places_of(paths: Sequence[Path]) -> list[Path]:
    """Where to look: the paths given, or else runs/, or else this directory. InputError where there is no log."""
    from thermotui.runlog.paths import is_directory
    from thermotui.runlog.workspace import find_logs

    places = list(paths) or [Path("runs") if is_directory(Path("runs")) else Path()]
    if not find_logs(places):
        raise InputError(f"no run log (*.h5) in {', '.join(map(str, places))}; start one with: thermotui demo")
    return places


def writes_unicode() -> bool:
    """Whether standard output and the locale have more than ASCII; a locale that is not set at all is taken to have.

    Python encodes in UTF-8 in the C locale too, and then says LC_CTYPE=C.UTF-8 itself: the locale asked for is older.
    """
    if "utf" not in (sys.stdout.encoding or "").lower():
        return False
    asked = os.environ
    if asked.get("PYTHONUTF8") == "1" or "utf" in asked.get("PYTHONIOENCODING", "").lower():
        return True
    category = "" if sys.flags.utf8_mode and asked.get("LC_CTYPE") in COERCED else asked.get("LC_CTYPE")
    return (asked.get("LC_ALL") or category or asked.get("LANG")) not in ("C", "POSIX")


def open_screen(request: Request) -> None:
    """Show the screen until it is left. InputError where there is no log, no terminal, or nothing that can be read."""
    places = places_of(request.paths)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("the screen needs a terminal; for scripts there are --once and --json")
    if os.environ.get("TERM") in ("dumb", "unknown"):
        raise InputError(
            f"TERM={os.environ['TERM']}: the screen needs more of a terminal; for this one there is --once"
        )
    if 0 in os.get_terminal_size(sys.stdout.fileno()):
        # Textual and rich each take a size of their own for none, and resize one another for ever.
        raise InputError("the terminal says that it has no size; give it one, such as: stty rows 24 cols 80")
    # Nothing here multiplies matrices: threads of a BLAS would only cost a start of their own, and memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What is imported stays: the collector would look through it again and again.
    gc.disable()
    sys.setswitchinterval(SWITCH_INTERVAL)
    # The reading process imports HDF5, and reads, while this one imports the screen: it is started first of all.
    from thermotui.tui.reading import ReadingProcess

    with ReadingProcess(places) as process, ExitStack() as stack:
        from thermotui.analysis.memory import give_back_large_blocks

        give_back_large_blocks()
        from thermotui.tui.mailbox import Mailbox
        from thermotui.tui.poller import Poller

        interval = max(request.interval, LOW_BANDWIDTH_INTERVAL) if request.low_bandwidth else request.interval
        delivery = None
        if request.actions:
            from thermotui.analysis.delivery import Delivery

            delivery = Delivery(process, request.actions)
        # Before the poller needs it: two threads that import share one lock, which costs both time to pass on.
        import numpy  # noqa: F401

        poller = Poller(delivery or process, interval, Mailbox())
        poller.start()
        stack.callback(poller.stop)
        from textual.geometry import Size

        from thermotui.tui.app import Settings, WatchApp
        from thermotui.tui.preferences import load_preferences, preferences_file
        from thermotui.tui.session import Session, load_session, save_session, session_file

        kept = session_file(places)
        settings = Settings(
            theme=request.theme,
            mode="ascii" if request.ascii_only or request.low_bandwidth or not writes_unicode() else "braille",
            preferences=load_preferences(preferences_file()),
            session=Session() if request.fresh else load_session(kept),
        )
        screen = WatchApp(poller, settings)
        first = poller.mailbox.look(FIRST_LOOK)
        if first is not None and all(run.problem for run in first.summaries):
            raise InputError(first.summaries[0].problem)
        if first is not None:
            screen.prepare(first, Size(*os.get_terminal_size(sys.stdout.fileno())))
        if delivery:
            delivery.tell = _notifier(screen)
        screen.run(mouse=not request.low_bandwidth)
        if delivery:
            delivery.tell = lambda sentence: None
            _close(delivery)
    if screen.failure:
        raise InputError(screen.failure)
    try:
        save_session(kept, screen.last_session)
    except OSError as error:
        print(f"thermotui: the view could not be saved: {error}", file=sys.stderr)  # noqa: T201


def _notifier(screen: WatchApp) -> Callable[[str], None]:
    """Says on the screen what could not be delivered; after the screen is left, standard error says it.

    For any thread: it posts and neither waits for the screen nor raises.
    """

    def notify(sentence: str) -> None:
        from thermotui.analysis.format import printable

        if screen.is_running:
            # The screen may be left, and its event loop closed, between the question and the post.
            with suppress(RuntimeError):
                screen.notify(printable(sentence), severity="error", markup=False)

    return notify


def _close(delivery: Delivery) -> None:
    delivery.close()
    for failure in delivery.failures:
        print(f"thermotui: {failure}", file=sys.stderr)  # noqa: T201
