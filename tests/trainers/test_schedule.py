"""Batches: independent with replacement, an epoch's permutation without."""

import pytest
import torch

from thermotui.errors import InputError
from trainers.schedule import BatchSchedule


def schedule(replacement: bool, batch_size: int = 3, seed: int = 0) -> BatchSchedule:
    return BatchSchedule(
        ensemble=2,
        dataset_size=10,
        batch_size=batch_size,
        replacement=replacement,
        generator=torch.Generator().manual_seed(seed),
    )


def test_without_replacement_an_epoch_sees_no_sample_twice() -> None:
    batches = schedule(False)
    assert batches.batches_per_epoch == 3
    orders = []
    for _ in range(4):
        epoch = torch.cat([batches.next() for _ in range(3)], dim=1)
        for member in epoch:
            assert len(set(member.tolist())) == 9
        assert not torch.equal(epoch[0], epoch[1])
        orders.append(epoch)
    assert not torch.equal(orders[0], orders[1])


def test_with_replacement_every_sample_comes_equally_often() -> None:
    batches = schedule(True)
    assert batches.batches_per_epoch is None
    counts = torch.bincount(torch.cat([batches.next() for _ in range(2000)]).flatten(), minlength=10)
    assert (counts - 1200).abs().max() < 5 * (1200 * 0.9) ** 0.5


@pytest.mark.parametrize("replacement", [True, False])
def test_a_resumed_schedule_goes_on_exactly(replacement: bool) -> None:
    straight = schedule(replacement)
    for _ in range(5):
        straight.next()
    resumed = schedule(replacement, seed=99)
    resumed.load_state_dict(straight.state_dict())
    for _ in range(7):
        assert torch.equal(straight.next(), resumed.next())


def test_a_batch_larger_than_the_data_set_is_refused_only_without_replacement() -> None:
    assert schedule(True, batch_size=11).next().shape == (2, 11)
    with pytest.raises(InputError, match="--batch-size 11"):
        schedule(False, batch_size=11)
