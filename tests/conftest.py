"""What every room's tests may use."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy is no fault of what is tested, and whoever changes something else is told of no new draw.
settings.register_profile("thermotui", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("thermotui")

SAMPLE_RUNS = Path(__file__).parent.parent / "sample_runs"


@pytest.fixture
def sample_run() -> str:
    """A recorded run, as a path on the command line."""
    return str(SAMPLE_RUNS / "softmax-batch-10.h5")


@pytest.fixture
def without_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs that are open get no row of their own accord, which a reader would take for news."""
    monkeypatch.setattr("thermotui.runlog.writer.heartbeat_interval", lambda elapsed: 3600.0)
