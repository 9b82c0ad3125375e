"""A panel for which a run has nothing leaves its place to others, until there is something."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from tests.tui import scripted
from tests.tui.driving import main_screen, press, screen, until
from thermotui.runlog.writer import RunLogWriter
from thermotui.tui.session import Session
from thermotui.tui.views.dashboard import ORDER, Dashboard

THERMO = {"heat_work", "entropy_production", "information", "efficiency", "entropy", "first_law"}


def write_steps(writer: RunLogWriter, first: int, last: int, **figures: float) -> None:
    """What a loop with a probe logs, but for its temperatures."""
    for step in range(first, last):
        writer.append("steps", step=step, time=scripted.CREATED + step, gradient_norm=1.0, learning_rate=0.1, **figures)
    writer.flush()


def shown(pilot: Pilot[None]) -> set[str]:
    return set(pilot.app.screen.query_one(Dashboard).shown)


async def test_what_a_run_does_not_have_comes_when_it_has(tmp_path: Path) -> None:
    path = tmp_path / "probe.h5"
    writer = RunLogWriter.create(path, scripted.header("probe"))
    write_steps(writer, 0, 100, loss=1.0)
    async with screen([path], size=(220, 60)) as pilot:
        await until(pilot, lambda: not shown(pilot) & THERMO)
        assert {"loss", "gradient_norm", "learning_rate", "temperature", "alerts"} <= shown(pilot)
        assert "accuracy" not in shown(pilot)
        write_steps(writer, 100, 300, loss=1.0, accuracy=0.5)
        await until(pilot, lambda: "accuracy" in shown(pilot))
        for step in range(300, 400, 10):
            writer.append("thermo", step=step, time=scripted.CREATED + step, work=1.0, heat=-1.0)
        write_steps(writer, 300, 400, loss=1.0)
        await until(pilot, lambda: "heat_work" in shown(pilot))
        assert {"accuracy", "loss"} <= shown(pilot)
    writer.close()


async def test_a_run_that_has_just_begun_may_still_get_everything(tmp_path: Path) -> None:
    path = tmp_path / "young.h5"
    writer = RunLogWriter.create(path, scripted.header("young"))
    write_steps(writer, 0, 5, loss=1.0)
    async with screen([path], size=(220, 60)) as pilot:
        assert shown(pilot) & THERMO
    writer.close()


async def test_what_one_run_does_not_have_another_has(tmp_path: Path) -> None:
    scripted.scripted_log(tmp_path / "whole.h5")
    with RunLogWriter.create(tmp_path / "bare.h5", scripted.header("bare")) as writer:
        write_steps(writer, 0, 100, loss=1.0)
    async with screen([tmp_path], size=(220, 60)) as pilot:
        for name in ("bare", "whole", "bare"):
            while Path(main_screen(pilot).selected).stem != name:
                await press(pilot, "j" if name == "whole" else "k")
            await until(pilot, lambda name=name: bool(shown(pilot) & THERMO) == (name == "whole"))


async def test_the_part_that_is_looked_at_tells_nothing_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "seldom.h5"
    with RunLogWriter.create(path, scripted.header("seldom")) as writer:
        write_steps(writer, 0, 50, loss=1.0, accuracy=0.5)
        write_steps(writer, 50, 1000, loss=1.0)
    async with screen([path], size=(220, 60)) as pilot:
        assert "accuracy" in shown(pilot)
        for _ in range(4):
            await press(pilot, "plus")
        assert main_screen(pilot).steps.x_range is not None
        assert "accuracy" in shown(pilot)


async def test_a_run_begun_anew_under_its_name_may_get_everything(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with RunLogWriter.create(path, scripted.header("old")) as writer:
        write_steps(writer, 0, 500, loss=1.0)
    async with screen([path], size=(220, 60)) as pilot:
        await until(pilot, lambda: "accuracy" not in shown(pilot))
        path.unlink()
        writer = RunLogWriter.create(path, scripted.header("new"))
        write_steps(writer, 0, 5, loss=1.0, accuracy=0.5)
        await until(pilot, lambda: "accuracy" in shown(pilot) and shown(pilot) & THERMO)
        writer.close()


async def test_where_a_run_has_nothing_that_is_wanted_its_panels_say_so(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with RunLogWriter.create(path, scripted.header("bare")) as writer:
        write_steps(writer, 0, 500, loss=1.0)
    kept = THERMO | {"log_partition"}
    session = Session(hidden_panels=tuple(name for name in ORDER if name not in kept))
    async with screen([path], size=(220, 60), session=session) as pilot:
        await press(pilot, "f")
        assert shown(pilot) & THERMO


async def test_a_zoomed_screen_asks_no_more_than_before(tmp_path: Path) -> None:
    path = tmp_path / "live.h5"
    writer = RunLogWriter.create(path, scripted.header("live"))
    write_steps(writer, 0, 100, loss=1.0)
    async with screen([path], size=(220, 60)) as pilot:
        await until(pilot, lambda: "accuracy" not in shown(pilot))
        await press(pilot, "plus", "plus")
        asked = pilot.app.poller.query
        write_steps(writer, 100, 1000, loss=1.0)
        await until(pilot, lambda: main_screen(pilot).stage.snapshots[0].lengths["steps"] == 1000)
        assert not pilot.app.screen.query_one(Dashboard)._due()
        assert pilot.app.poller.query.fields == asked.fields
    writer.close()
