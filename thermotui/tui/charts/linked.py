"""What all widgets have in common that draw data along the steps of a run, and share which of them they show."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Self

from textual.reactive import reactive

from thermotui.tui.charts.cells import CellWidget
from thermotui.tui.charts.frame import Frame
from thermotui.tui.charts.model import ChartData
from thermotui.tui.charts.view import StepView

FRAMES_AHEAD = 5
"""Most frames that a widget keeps for what it may show next: for each key that moves it along the steps, and one."""


class LinkedWidget(CellWidget):
    """Draws a ChartData. Set `data` to a new one to update it: only the cells that change are repainted.

    Widgets given the same `view` share their range of steps and their cursor.
    """

    data: reactive[ChartData | None] = reactive[ChartData | None](None, repaint=False, init=False, always_update=True)

    def __init__(self, data: ChartData | None = None, *, view: StepView | None = None, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = view if view is not None else StepView()
        self._ahead: dict[tuple[object, ...], tuple[Frame, tuple[Any, ...]]] = {}
        """Frames drawn before they are asked for, by what they are made of, each with `drawing` after it."""
        self.set_reactive(LinkedWidget.data, data)

    def on_mount(self) -> None:
        self.view.link(self, redraw_together)

    def on_unmount(self) -> None:
        self.view.unlink(self, redraw_together)

    @property
    def drawable(self) -> bool:
        return not self.view.telling and super().drawable

    def redraw(self) -> None:
        redraw_together((self,))

    def forget_frame(self) -> None:
        super().forget_frame()
        self.forget_ahead()

    def forget_ahead(self) -> None:
        """Keep nothing of what was drawn ahead."""
        self._ahead.clear()

    def let_go(self) -> None:
        super().let_go()
        self.set_reactive(LinkedWidget.data, None)

    @abstractmethod
    def drawing(self) -> tuple[Any, ...]:
        """What was last drawn of what, data and choices such as the value axis, for `restore`."""

    @abstractmethod
    def restore(self, drawing: Any) -> None:
        """Take back what was drawn since but not shown."""

    @abstractmethod
    def made_of(self) -> tuple[object, ...]:
        """All that the next frame depends on, what was last drawn included: of what is equal, so is the frame."""

    @classmethod
    def draw_together(cls, widgets: Sequence[Self]) -> list[Frame]:
        """A frame for each of several widgets of this kind."""
        return [widget.draw_frame(*widget.size) for widget in widgets]

    def take_ahead(self) -> Frame | None:
        """The frame to show now, where it was drawn ahead; those for other keys are given up."""
        if not self._ahead:
            return None
        found = self._ahead.get(self.made_of())
        self._ahead.clear()
        if found is None:
            return None
        frame, drawing = found
        self.restore(drawing)
        return frame

    def keep_ahead(self, made_of: tuple[object, ...], frame: Frame) -> None:
        """Keep a frame just drawn, until another is shown."""
        if len(self._ahead) >= FRAMES_AHEAD:
            del self._ahead[next(iter(self._ahead))]
        self._ahead[made_of] = frame, self.drawing()


def redraw_together(widgets: Sequence[LinkedWidget]) -> None:
    """Draw widgets anew and show what differs."""
    shown = []
    for widget in widgets:
        if widget.drawable:
            shown.append(widget)
        elif not widget.size:
            widget.forget_frame()
    for widget, frame in zip(shown, frames_of(shown), strict=True):
        widget.show_frame(frame)


def frames_of(widgets: Sequence[LinkedWidget]) -> list[Frame]:
    """A frame for each: the one drawn ahead, or else drawn now, those of one kind together."""
    frames = {index: frame for index, widget in enumerate(widgets) if (frame := widget.take_ahead()) is not None}
    return _frames(widgets, frames)


def _frames(widgets: Sequence[LinkedWidget], known: dict[int, Frame]) -> list[Frame]:
    kinds: dict[type[LinkedWidget], list[int]] = {}
    for index, widget in enumerate(widgets):
        if index not in known:
            kinds.setdefault(type(widget), []).append(index)
    for kind, indices in kinds.items():
        known.update(zip(indices, kind.draw_together([widgets[index] for index in indices]), strict=True))
    return [known[index] for index in range(len(widgets))]


def draw_ahead(
    updates: Iterable[tuple[LinkedWidget, ChartData | None]], view: StepView, steps: tuple[float, float] | None
) -> None:
    """Draw what widgets linked by `view` would show of these data and steps, so that it is at hand if that is next."""
    pairs = [(widget, data) for widget, data in updates if widget.drawable]
    widgets = [widget for widget, _ in pairs]
    before = [widget.drawing() for widget in widgets]
    try:
        with view.supposed(steps):
            for widget, data in pairs:
                widget.set_reactive(LinkedWidget.data, data)
            made_of = [widget.made_of() for widget in widgets]
            for widget, parts, frame in zip(widgets, made_of, _frames(widgets, {}), strict=True):
                widget.keep_ahead(parts, frame)
    finally:
        for widget, drawing in zip(widgets, before, strict=True):
            widget.restore(drawing)
