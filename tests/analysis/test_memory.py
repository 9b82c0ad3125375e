"""What is freed is given back."""

from __future__ import annotations

import ctypes
import sys

import psutil
import pytest

from thermotui.analysis.memory import give_back_free_pages


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not GNU's"
)
def test_free_pages_between_blocks_in_use_are_given_back() -> None:
    # Too large for Python's own pools, too small for a place outside of the heap.
    blocks = [bytes(4096) for _ in range(10_000)]
    kept = blocks[::100]
    held = psutil.Process().memory_info().rss
    del blocks
    give_back_free_pages()
    assert len(kept) == 100
    assert held - psutil.Process().memory_info().rss > 20e6
