"""Random keys, sizes and live runs for a while: no exception, no growth."""

from __future__ import annotations

import random
import time
from pathlib import Path

import psutil
import pytest

from tests.tui import scripted
from tests.tui.driving import main_screen, screen
from thermotui.tui.actions import ACTIONS

KEYS = [key for action in ACTIONS for key in action.keys if action.name not in ("quit", "save")]
KEYS += ["enter", "home", "end"]
SIZES = [(80, 24), (160, 48), (10, 3), (300, 100), (41, 11), (120, 36)]


async def drive(folder: Path, writers: list[scripted.RunLogWriter], presses: int, seed: int) -> list[int]:
    """Press random keys while the runs go on; the memory in use at each hundredth of the way, in bytes."""
    chance = random.Random(seed)
    steps = [200] * len(writers)
    memory = []
    async with screen([folder], size=(120, 36)) as pilot:
        for count in range(presses):
            await pilot.press(chance.choice(KEYS))
            if chance.random() < 0.02:
                await pilot.resize_terminal(*chance.choice(SIZES))
            if chance.random() < 0.2:
                index = chance.randrange(len(writers))
                scripted.write_rows(writers[index], steps[index], steps[index] + 20, start_time=time.time() - 10)
                steps[index] += 20
                writers[index].flush()
            if count % max(1, presses // 100) == 0:
                memory.append(psutil.Process().memory_info().rss)
        assert main_screen(pilot).runs
    return memory


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_keys(tmp_path: Path, seed: int) -> None:
    scripted.scripted_log(tmp_path / "finished.h5", rows=600)
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF")
    writers = [scripted.live_log(tmp_path / f"live-{index}.h5", rows=200) for index in range(2)]
    await drive(tmp_path, writers, 60, seed)
    for writer in writers:
        writer.close()


@pytest.mark.slow
async def test_no_growth_with_twenty_live_runs(tmp_path: Path) -> None:
    writers = [scripted.live_log(tmp_path / f"live-{index}.h5", rows=200) for index in range(20)]
    memory = await drive(tmp_path, writers, 8000, 3)
    for writer in writers:
        writer.close()
    settled = len(memory) // 4
    assert memory[-1] - memory[settled] < 25e6, [each // 10**6 for each in memory[::10]]
