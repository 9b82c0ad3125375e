"""One training step as the loop sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from torch import Tensor

from thermotui.errors import InputError


@dataclass(slots=True)
class Step:
    """One training step, for what only the loop knows."""

    loss: Tensor | float | None = None
    accuracy: Tensor | float | None = None

    def record(self, *, loss: Tensor | float | None = None, accuracy: Tensor | float | None = None) -> None:
        """Note the loss in nats and the accuracy (or a figure of your own).

        Of a tensor it is the value at the end of the step that counts, and it stays on its device.
        """
        self.loss = _one_number("loss", loss) if isinstance(loss, Tensor) else loss
        self.accuracy = _one_number("accuracy", accuracy) if isinstance(accuracy, Tensor) else accuracy

    def forget(self) -> None:
        """Let go of what was recorded, and of the graph that it may end."""
        self.loss = self.accuracy = None


class Steps(Protocol):
    """What brackets its steps."""

    def begin_step(self, *, replay: Callable[[], Tensor] | None = None) -> Step:
        """A step begins."""

    def end_step(self) -> None:
        """It is over."""

    def abandon_step(self) -> None:
        """It came to nothing."""


class Bracket:
    """A `with` statement around one step, which is abandoned when an exception leaves it.

    Of one use, like a generator's context manager, and a fraction of its cost.
    """

    __slots__ = ("_replay", "_steps")

    def __init__(self, steps: Steps, replay: Callable[[], Tensor] | None) -> None:
        self._steps, self._replay = steps, replay

    def __enter__(self) -> Step:
        return self._steps.begin_step(replay=self._replay)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._steps.end_step()
        else:
            self._steps.abandon_step()


def _one_number(name: str, figure: Tensor) -> Tensor:
    if figure.numel() != 1:
        raise InputError(f"the {name} of a step is one number, not a tensor of shape {tuple(figure.shape)}.")
    return figure
