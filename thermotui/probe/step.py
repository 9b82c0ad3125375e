"""One training step as the loop sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from torch import Tensor

from thermotui.errors import InputError


@dataclass(slots=True)
class Step:
    """One training step, for what only the loop knows."""

    loss: Tensor | float | None = None
    accuracy: Tensor | float | None = None

    def record(self, *, loss: Tensor | float | None = None, accuracy: Tensor | float | None = None) -> None:
        """Note the loss in nats and the accuracy (or a figure of your own); what is on a device stays there."""
        self.loss = _one_number("loss", loss) if isinstance(loss, Tensor) else loss
        self.accuracy = _one_number("accuracy", accuracy) if isinstance(accuracy, Tensor) else accuracy


class Bracket:
    """Calls `begin` when a `with` statement begins and `end` when it ends, or `abandon` when an exception leaves it.

    Of one use, like a generator's context manager, and a fraction of its cost.
    """

    __slots__ = ("_abandon", "_begin", "_end")

    def __init__(self, begin: Callable[[], Step], end: Callable[[], None], abandon: Callable[[], None]) -> None:
        self._begin, self._end, self._abandon = begin, end, abandon

    def __enter__(self) -> Step:
        return self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._end()
        else:
            self._abandon()


def _one_number(name: str, figure: Tensor) -> Tensor | float:
    if figure.numel() != 1:
        raise InputError(f"the {name} of a step is one number, not a tensor of shape {tuple(figure.shape)}.")
    # On the host nobody waits for a number, and it takes a sixth of the time of a tensor.
    return float(figure.item()) if figure.is_cpu else figure.detach()
