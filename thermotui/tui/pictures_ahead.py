"""What the next key may show, drawn before it is pressed, one piece after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from thermotui.analysis.snapshot import Query
from thermotui.tui.asking import Answers, Steps
from thermotui.tui.views.view import View


class PicturesAhead:
    """Pictures that are still to be drawn, the likeliest first."""

    def __init__(self, answers: Answers) -> None:
        """answers: who knows what they show."""
        self._answers = answers
        self._left: dict[Query, Steps] = {}
        self._pieces: Iterator[None] = iter(())
        """Of the picture that is being drawn."""

    def expect(self, pictures: Mapping[Query, Steps]) -> None:
        """Draw these next: what is asked for each, and the steps it shows. None of those expected before."""
        self._left = dict(pictures)
        self._pieces = iter(())

    @property
    def expected(self) -> bool:
        """Whether there are pictures of which nothing is drawn yet."""
        return bool(self._left)

    def draw_piece(self, view: View) -> bool:
        """Go on drawing in `view`; False where all that is known is drawn."""
        if next(self._pieces, self) is not self:
            return True
        for query, steps in self._left.items():
            snapshot = self._answers.held(query)
            if snapshot is not None:
                del self._left[query]
                self._pieces = view.draw_ahead(snapshot, steps)
                return True
        return False
