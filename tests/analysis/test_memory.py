"""What is freed is given back."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Thread
from unittest.mock import Mock

import psutil
import pytest

from thermotui.analysis import memory, reading_process
from thermotui.analysis.memory import give_back_free_pages, of_gnu
from thermotui.analysis.reading_process import read_frame, serve, write_frame
from thermotui.analysis.snapshot import Query, Tick


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


def test_the_process_that_reads_gives_back_when_it_is_asked_nothing_and_not_at_every_question(
    sample_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back, tidied = Mock(), Mock()
    monkeypatch.setattr(memory, "give_back_free_pages", given_back)
    # What a test leaves switched on or frozen would be there for all that follow.
    monkeypatch.setattr(reading_process, "gc", Mock(collect=tidied))
    clock = Mock(return_value=0.0)
    monkeypatch.setattr(reading_process, "time", Mock(monotonic=clock))
    # The watchdog's alarm can be set in a main thread only.
    monkeypatch.setattr(reading_process, "arm", lambda seconds: None)
    (their_questions, questions), (answers, their_answers) = os.pipe(), os.pipe()
    with (
        os.fdopen(questions, "wb", buffering=0) as asking,
        os.fdopen(answers, "rb", buffering=0) as answering,
        os.fdopen(their_questions, "rb", buffering=0) as requests,
        os.fdopen(their_answers, "wb", buffering=0) as replies,
    ):

        def end() -> None:
            # Closed, so that whoever asks does not wait for ever for one that has failed.
            with replies, pytest.raises(EOFError):
                serve([Path(sample_run)], {}, requests, replies)

        def ask() -> None:
            write_frame(asking, Query())
            while not isinstance(read_frame(answering), Tick):
                pass

        thread = Thread(target=end)
        thread.start()
        ask()
        ask()
        assert not given_back.called
        clock.return_value = reading_process.TIDYING_SECONDS + 1
        ask()
        deadline = time.monotonic() + 10
        while not given_back.called and time.monotonic() < deadline:
            time.sleep(0.01)
        ask()
        ask()
        asking.close()
        thread.join(10)
    assert given_back.call_count == tidied.call_count == 1
