"""Small versions of the families, and setups for them."""

import numpy as np
import pytest
import torch

from trainers.data.images import load_digits
from trainers.setup import Setup

# Threads cost more than they bring to tensors this small, and fight each other where tests run side by side.
torch.set_num_threads(1)


@pytest.fixture
def make_setup():
    def make(ensemble=2, probe_size=64, seed=0, varies="seed"):
        return Setup(ensemble, varies, "bootstrap", probe_size, seed, torch.device("cpu"))

    return make


@pytest.fixture(scope="session")
def patches():
    """20 binary pixels from the middle of each of the bundled digits, [n, 20]."""
    images = load_digits().train.reshape(-1, 8, 8)
    return (images[:, 1:6, 2:6].reshape(-1, 20) > 0.5).astype(np.float32)
