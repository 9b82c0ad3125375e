"""SIGINT, SIGTERM and SIGHUP as a wish to stop after the present step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopWish:
    """Whether someone asked the run to stop, and by which signal."""

    signal: signal.Signals | None = None


@contextmanager
def catching() -> Iterator[StopWish]:
    """While open, the first SIGINT, SIGTERM or SIGHUP is a wish; a second one of its kind acts as it would without us.

    Those that are ignored stay so: `nohup`, or a shell's background job.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    previous: dict[int, Any] = {}

    def handle(number: int, _frame: FrameType | None) -> None:
        wish.signal = signal.Signals(number)
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        handler = signal.getsignal(number)
        # None is a handler that was not set from Python: it could not be put back.
        if handler is None or handler == signal.SIG_IGN:
            continue
        previous[number] = handler
        signal.signal(number, handle)
    try:
        yield wish
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
