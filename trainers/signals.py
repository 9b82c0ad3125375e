"""SIGINT and SIGTERM as a wish to stop after the present step."""

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
    """While open, the first SIGINT or SIGTERM is a wish; a second one of its kind acts as it would without us."""
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    previous: dict[int, Any] = {}

    def handle(number: int, _frame: FrameType | None) -> None:
        wish.signal = signal.Signals(number)
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.getsignal(number)
        signal.signal(number, handle)
    try:
        yield wish
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
