"""What is freed is given back."""

from __future__ import annotations

import psutil

from thermotui.analysis.memory import give_back_free_pages, of_gnu


def test_free_pages_between_blocks_in_use_are_given_back() -> None:
    # Too large for Python's own pools, too small for a place outside of the heap.
    blocks = [bytes(4096) for _ in range(10_000)]
    kept = blocks[::100]
    held = psutil.Process().memory_info().rss
    del blocks
    give_back_free_pages()
    assert len(kept) == 100
    # Elsewhere all there is to see is that nothing is raised.
    assert held - psutil.Process().memory_info().rss > 20e6 or of_gnu("malloc_trim") is None
