"""What every room's tests may use."""

from pathlib import Path

import pytest

SAMPLE_RUNS = Path(__file__).parent.parent / "sample_runs"


@pytest.fixture
def sample_run() -> str:
    """A recorded run, as a path on the command line."""
    return str(SAMPLE_RUNS / "softmax-batch-10.h5")
