"""Norms of per-sample gradients from their forms, against the gradients themselves."""

import pytest
import torch

from thermotui.probe.forms import Direct, Form, Outer, Rows, depends_on_length, layer_norms
from thermotui.probe.signs import RandomSigns

SAMPLES, POSITIONS, COLUMNS = 3, 40, 4096


def signs() -> RandomSigns:
    return RandomSigns(torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("inputs", "outputs"), [(12, 30), (30, 12), (20, 20)], ids=["wider", "narrower", "square"])
@pytest.mark.parametrize("transposed", [False, True], ids=["weight [o, i]", "weight [i, o]"])
def test_a_sketched_weight_and_its_bias(inputs: int, outputs: int, transposed: bool) -> None:
    torch.manual_seed(1)
    activations = torch.randn(SAMPLES, POSITIONS, inputs) + 0.5
    deltas = torch.randn(SAMPLES, POSITIONS, outputs) + 0.5
    weight = Outer(deltas, activations) if transposed else Outer(activations, deltas)
    parameters: list[list[Form]] = [[weight], [Direct(deltas, summed=True)]]
    gradient = deltas.mT @ activations
    exact = {"weight": gradient.square().sum((1, 2)), "bias": deltas.sum(1).square().sum(1)}
    sketched, whole = layer_norms(parameters, sketch=2, signs=signs())
    # So narrow a sketch is what the weight takes; the bias never does.
    assert sketched.sketched and not whole.sketched
    assert sketched.values.shape == (SAMPLES, 2)
    torch.testing.assert_close(whole.squares, exact["bias"])
    drawn = signs()
    estimates = torch.cat(
        [layer_norms(parameters, sketch=2, signs=drawn)[0].squares for _ in range(COLUMNS // 2)], dim=1
    )
    error = estimates.std(1) / COLUMNS**0.5
    assert (error < 0.05 * exact["weight"]).all()
    assert ((estimates.mean(1) - exact["weight"]).abs() < 4 * error).all()


def test_the_narrow_side_of_a_weight_is_what_takes_the_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    take = RandomSigns.take
    monkeypatch.setattr(RandomSigns, "take", lambda self, count, *rest: rows.append(count) or take(self, count, *rest))
    for inputs, outputs in ((12, 30), (30, 12)):
        activations, deltas = torch.randn(SAMPLES, POSITIONS, inputs), torch.randn(SAMPLES, POSITIONS, outputs)
        layer_norms([[Outer(activations, deltas)], [Direct(deltas, summed=True)]], sketch=2, signs=signs())
        layer_norms([[Outer(activations, deltas)]], sketch=2, signs=signs())
    assert rows == [12] * 4


def test_what_is_not_sketched_or_has_other_deltas_is_taken_by_itself() -> None:
    activations, deltas, others = (torch.randn(SAMPLES, 1, 5) for _ in range(3))
    weight = Outer(activations, deltas)
    exact = [(deltas.mT @ activations).square().sum((1, 2))]
    for bias in (deltas, others):
        expected = [*exact, bias.sum(1).square().sum(1)]
        for sketch in (0, 2):
            found = layer_norms([[weight], [Direct(bias, summed=True)]], sketch=sketch, signs=signs())
            assert len(found) == 2
            for one, truth in zip(found, expected, strict=True):
                torch.testing.assert_close(one.squares, truth)


def test_a_bias_that_another_weight_has_as_well_is_taken_by_itself() -> None:
    """Two uses of the bias, one of the weight: their sums add up before the norm."""
    activations, deltas = torch.randn(SAMPLES, POSITIONS, 12), torch.randn(SAMPLES, POSITIONS, 30)
    uses: list[Form] = [Direct(deltas, summed=True), Direct(deltas, summed=True)]
    *_, bias = layer_norms([[Outer(activations, deltas)], uses], sketch=2, signs=signs())
    torch.testing.assert_close(bias.squares, 4 * deltas.sum(1).square().sum(1))


@pytest.mark.parametrize("kind", ["large weight", "small weight", "embedding", "bias"])
def test_what_is_said_to_depend_on_the_length_does(kind: str) -> None:
    sketch = 2

    def form(positions: int) -> Form:
        wide, narrow = torch.randn(SAMPLES, positions, 20), torch.randn(SAMPLES, positions, 4)
        if kind == "bias":
            return Direct(wide, summed=True)
        if kind == "embedding":
            return Rows(torch.randint(9, (SAMPLES, positions)), wide, 9)
        return Outer(wide, wide if kind == "large weight" else narrow)

    lengths = [2, 2 * sketch, 2 * sketch + 1, 50]
    sketched = [layer_norms([[form(length)]], sketch=sketch, signs=signs())[0].sketched for length in lengths]
    depends = kind in ("large weight", "embedding")
    assert sketched == [False, False, depends, depends]
    assert {depends_on_length([form(length)], sketch) for length in lengths} == {depends}
    assert not depends_on_length([form(50)], 0) and not depends_on_length([form(50)] * 2, sketch)
