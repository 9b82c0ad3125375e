"""One layer in a step: what the hooks have received of it, and what of that counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from thermotui.probe.layers import ModelLayer
from thermotui.probe.noise import Call, LinearPart, Part


@dataclass(slots=True)
class Track:
    """What is known of one layer while a step runs."""

    layer: ModelLayer
    obstacle: str | None
    estimator: str = ""
    by_length: bool = False
    """Whether `estimator` depends on how many positions its inputs have."""
    passes: int = 0
    """Forward passes whose gradients have not arrived yet."""
    backward: int = -1
    """The backward pass that `calls` and `pending` are of."""
    samples: int = 0
    """Those that `parts` are of."""
    samples_of_pass: int = 0
    """Those that `calls` and `pending` are of."""
    calls: list[Call] = field(default_factory=list)
    pending: list[Part | LinearPart] = field(default_factory=list)
    """Read, but not known yet to have gone into the parameters' gradients."""
    parts: list[Part | LinearPart] = field(default_factory=list)
    held: list[list[Any]] = field(default_factory=list)
    """What forward passes hold until the step is over, as nothing before it says that they are done."""
    settled: list[int] = field(default_factory=list)
    """The backward passes that `parts` are of."""

    @property
    def served(self) -> bool:
        """Whether its noise is measured within the batch."""
        return bool(self.estimator) and not self.obstacle

    def begin_pass(self, backward: int) -> None:
        """Passes that end in no parameter's gradient (a penalty's, say) leave nothing behind."""
        self.backward = backward
        if self.calls or self.pending:
            self.calls.clear()
            self.pending.clear()

    def settle(self) -> None:
        """The pass has gone into the parameters' gradients."""
        self.parts += self.pending
        self.pending.clear()
        self.samples += self.samples_of_pass
        self.settled.append(self.backward)

    def begin_anew(self) -> None:
        """What came so far is in the gradients no more."""
        self.parts.clear()
        self.settled.clear()
        self.samples = 0

    def forget(self) -> None:
        """All of the last step."""
        self.passes = 0
        for held in self.held:
            held.clear()
        self.held.clear()
        if self.parts:
            self.begin_anew()
        if self.calls or self.pending:
            self.calls.clear()
            self.pending.clear()
