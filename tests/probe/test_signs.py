"""Signs for sketches: fair, of the type asked for, and each handed out once."""

import torch

from thermotui.probe.signs import DRAWN_AT_ONCE, RandomSigns


def test_signs_are_fair_and_handed_out_once() -> None:
    signs = RandomSigns(torch.Generator().manual_seed(0))
    taken = [signs.take(1000, 8, torch.float32) for _ in range(40)]
    assert sum(one.numel() for one in taken) > 2 * DRAWN_AT_ONCE
    everything = torch.cat([one.flatten() for one in taken])
    assert set(everything.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(everything.mean())) < 4 / len(everything) ** 0.5
    rows = torch.cat([one.mT for one in taken])
    # Columns of 1,000 signs that are independent hardly correlate; those handed out twice would do so fully.
    correlations = (rows @ rows.mT / 1000).fill_diagonal_(0.0)
    assert float(correlations.abs().max()) < 6 / 1000**0.5


def test_types_do_not_disturb_each_other_and_large_sketches_are_drawn_whole() -> None:
    one, two = (RandomSigns(torch.Generator().manual_seed(1)) for _ in range(2))
    alone = [one.take(10, 4, torch.float32) for _ in range(3)]
    mixed = []
    for _ in range(3):
        mixed.append(two.take(10, 4, torch.float32))
        assert two.take(7, 2, torch.float64).dtype is torch.float64
    assert all(torch.equal(a, b) for a, b in zip(alone, mixed, strict=True))
    assert two.take(DRAWN_AT_ONCE, 2, torch.float32).shape == (DRAWN_AT_ONCE, 2)
