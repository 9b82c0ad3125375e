"""What waits to be summed up at once gives the sums of each step by itself."""

import pytest
import torch

from thermotui.probe.forms import Norms
from thermotui.probe.general_norms import MOST_STEPS, STEADY, GeneralNorms
from thermotui.probe.noise import NOISE, Part, part_sums
from thermotui.probe.rows import Rows

LAYERS = 4


def step(samples: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> list[list[Part]]:
    """Layers with plain, squared and sketched norms, with several kinds of them, and one without any."""

    def norms(*shape: int) -> torch.Tensor:
        values = torch.rand(samples, *shape, generator=generator, dtype=dtype)
        # Some samples have no gradient.
        return values * (torch.rand(samples, *[1] * len(shape), generator=generator) > 0.2)

    return [
        [Part((Norms(norms()), Norms(norms(), squared=True)))],
        [Part((Norms(norms(3)),))],
        [],
        [Part((Norms(norms(3)), Norms(norms()), Norms(norms(3))))],
    ]


def ready(samples: int, generator: torch.Generator) -> tuple[GeneralNorms, Rows]:
    """With room for steps of so many samples in float64."""
    rows = Rows(100)
    general = GeneralNorms(LAYERS, rows)
    found = [general.hold(step(samples, generator)) for _ in range(STEADY)]
    assert found == [*[False] * (STEADY - 1), True]
    return general, rows


def summed(steps: list[list[list[Part]]]) -> torch.Tensor:
    missing = torch.tensor(torch.nan)
    return torch.stack([torch.stack([part_sums(layer, missing) for layer in one], dim=1) for one in steps])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sizes", [[7] * 5, [7] * (MOST_STEPS + 9), [7] * 6 + [5, 7, 7] + [5] * 6 + [1] * 5, [7, 5] * 9]
)
def test_the_sums_of_many_steps_are_those_of_each(sizes: list[int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    steps = [step(size, generator, dtype) for size in sizes]
    rows = Rows(100)
    general = GeneralNorms(LAYERS, rows)
    held = []
    for place, one in enumerate(steps):
        held.append(general.hold(one))
        if held[-1]:
            general.keep(place)
        else:
            rows.add(place, summed([one])[0])
    general.settle()
    # Room is made for what is steady, and stays when another shape comes in between.
    assert any(held) is (sizes != [7, 5] * 9)
    if sizes[6:9] == [5, 7, 7]:
        assert held[5:9] == [True, False, True, True]
    places, values = rows.take()
    assert sorted(places) == list(range(len(sizes))) and values.shape[1:] == (len(NOISE), LAYERS)
    torch.testing.assert_close(values, summed([steps[place] for place in places]), equal_nan=True, rtol=1e-5, atol=1e-6)


def test_a_step_that_is_not_kept_leaves_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    general, rows = ready(6, generator)
    first, abandoned, second = (step(6, generator) for _ in range(3))
    for place, one in ((0, first), (None, abandoned), (1, second)):
        assert general.hold(one)
        if place is not None:
            general.keep(place)
    general.settle()
    torch.testing.assert_close(rows.take()[1], summed([first, second]), equal_nan=True)


def test_what_waits_is_copied() -> None:
    generator = torch.Generator().manual_seed(2)
    general, rows = ready(6, generator)
    one = step(6, generator)
    expected = summed([one])
    assert general.hold(one)
    general.keep(0)
    for layer in one:
        for part in layer:
            for norms in part.norms:
                norms.values.fill_(torch.nan)
    general.settle()
    torch.testing.assert_close(rows.take()[1], expected, equal_nan=True)


def test_parts_that_do_not_add_up_alike_are_left_to_their_own_sums() -> None:
    generator = torch.Generator().manual_seed(3)
    general, _ = ready(6, generator)
    plain, other, single = step(6, generator), step(5, generator), step(6, generator, torch.float32)
    assert not general.hold([[*plain[0], *plain[0]], *plain[1:]]), "several micro-batches"
    assert not general.hold([[Part(plain[0][0].norms, 2.0)], *plain[1:]]), "samples that stand for others"
    assert not general.hold([plain[0], *other[1:]]), "different samples"
    assert not general.hold([plain[0], *single[1:]]), "different precision"
    for _ in range(STEADY + 1):
        assert not general.hold([plain[0], *single[1:]]), "different precision, however steady"
        assert not general.hold([[], [], [], []]), "nothing"
    assert general.hold(plain)
