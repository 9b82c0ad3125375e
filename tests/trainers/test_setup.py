"""What a family is built with: independent randomness by purpose, and each member's data."""

from typing import Any

import numpy as np
import torch

from trainers.setup import Setup


def setup_of(**values: Any) -> Setup:
    defaults = {"ensemble": 4, "ensemble_varies": "data", "subsets": "disjoint", "probe_size": 8, "seed": 0}
    return Setup(**(defaults | values), device=torch.device("cpu"))


def test_disjoint_subsets_share_no_sample() -> None:
    samples = setup_of().member_samples(42)
    assert samples is not None and samples.shape == (4, 10)
    assert len(set(samples.flatten().tolist())) == 40
    assert samples.max() < 42


def test_bootstrap_subsets_are_drawn_with_replacement_by_each_member() -> None:
    samples = setup_of(subsets="bootstrap").member_samples(1000)
    assert samples is not None and samples.shape == (4, 1000)
    for member in samples:
        # The share of distinct samples nears 1 − 1/e.
        assert 0.58 < len(set(member.tolist())) / 1000 < 0.69
    assert not np.array_equal(samples[0], samples[1])


def test_members_that_differ_by_seed_have_the_whole_data_set() -> None:
    assert setup_of(ensemble_varies="seed").member_samples(42) is None


def test_randomness_depends_on_purpose_and_seed_alone() -> None:
    def draw(setup: Setup, purpose: str) -> list[float]:
        return torch.rand(3, generator=setup.generator(purpose)).tolist()

    assert draw(setup_of(), "parameters") == draw(setup_of(ensemble=9), "parameters")
    assert draw(setup_of(), "parameters") != draw(setup_of(), "batches")
    assert draw(setup_of(), "parameters") != draw(setup_of(seed=1), "parameters")
    first, second = (setup_of(seed=seed).numpy_generator("subsets").random() for seed in (0, 1))
    assert first != second
