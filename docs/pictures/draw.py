"""Draws the pictures of README and docs from the sample runs: `python docs/pictures/draw.py`, from the repository."""

from __future__ import annotations

import asyncio
from pathlib import Path

from thermotui.tui.actions import BY_NAME
from thermotui.tui.app import Settings, WatchApp
from thermotui.tui.mailbox import Mailbox
from thermotui.tui.poller import Poller
from thermotui.tui.reading import ReadingProcess

HERE = Path(__file__).parent
SAMPLE_RUNS = HERE.parent.parent / "sample_runs"
VIEWS = ("dashboard", "layers", "balance", "alerts")
SIZE = (150, 44)


async def draw(view: str, process: ReadingProcess) -> None:
    """One view of the disturbed run, once all its curves have arrived."""
    poller = Poller(process, 0.1, Mailbox())
    poller.start()
    app = WatchApp(poller, Settings(theme="dark"))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(BY_NAME[f"view_{view}"].keys[0])
        deadline = asyncio.get_running_loop().time() + 20
        while not (app.main.snapshots.get(app.main.selected) and poller.idle):
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"{view}: the runs were not read within 20 s")
            await pilot.pause(0.05)
        await pilot.pause(0.5)
        (HERE / f"{view}.svg").write_text(app.export_screenshot(title="thermotui watch sample_runs"))
    poller.join(5)


def main() -> None:
    """All pictures, one after the other."""
    with ReadingProcess(sorted(SAMPLE_RUNS.glob("softmax-*.h5"))) as process:
        for view in VIEWS:
            asyncio.run(draw(view, process))


if __name__ == "__main__":
    main()
