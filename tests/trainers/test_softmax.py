"""The softmax classifier: K models at once are K models, and its figures are the sums that they stand for."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from thermotui.errors import InputError
from thermotui.probe.gradient_norms import finite_population, temperature
from thermotui.thermo.ledger import Ledger
from trainers.data.images import Images, load_digits
from trainers.families.options import SoftmaxOptions
from trainers.families.softmax import Softmax, build, parse_widths
from trainers.schedule import BatchSchedule
from trainers.setup import Setup


def setup_of(ensemble: int, varies: str = "seed", subsets: str = "bootstrap", probe_size: int = 7) -> Setup:
    return Setup(ensemble, varies, subsets, probe_size, 0, torch.device("cpu"))


def toy(ensemble: int, widths: list[int], **options: str) -> Softmax:
    generator = np.random.default_rng(0)

    def part(size: int) -> tuple[np.ndarray, np.ndarray]:
        return generator.standard_normal((size, 5)).astype(np.float32), generator.integers(3, size=size)

    family = Softmax(Images(*part(40), *part(10), classes=3), widths, setup_of(ensemble, **options))
    family.module.double()
    family._inputs, family._probe = family._inputs.double(), family._probe.double()
    return family


def logits_of_one(family: Softmax, member: int, inputs: torch.Tensor) -> torch.Tensor:
    """One member's logits through plain products, with gradients to the batched parameters."""
    layers = list(family.module.layers)
    for index, layer in enumerate(layers):
        inputs = inputs @ layer.weight[member] + layer.bias[member]
        inputs = torch.relu(inputs) if index < len(layers) - 1 else inputs
    return inputs


@pytest.mark.parametrize("options", [{}, {"varies": "data"}, {"varies": "data", "subsets": "disjoint"}])
def test_gradient_and_noise_are_those_of_each_model_alone(options: dict[str, str]) -> None:
    family = toy(3, [4, 6], **options)
    indices = torch.randint(family.dataset_size, (3, 8), generator=torch.Generator().manual_seed(1))
    batch = family.gradient(indices, measure_noise=True)
    plain = {name: p.grad.clone() for name, p in family.module.named_parameters()}
    quiet = family.gradient(indices, measure_noise=False)
    torch.testing.assert_close(batch.loss, quiet.loss)
    for name, parameter in family.module.named_parameters():
        torch.testing.assert_close(parameter.grad, plain[name])
    assert quiet.noise is None and batch.noise is not None
    for member in range(3):
        positions = indices[member] if family._samples is None else family._samples[member][indices[member]]
        inputs, labels = family._inputs[positions], family._labels[positions]
        logits = logits_of_one(family, member, inputs)
        assert batch.loss[member].item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-12)
        assert batch.accuracy[member].item() == pytest.approx((logits.argmax(1) == labels).double().mean().item())
        for layer, names in enumerate(family.layer_parameters):
            per_sample = []
            for sample in range(8):
                loss = F.cross_entropy(logits_of_one(family, member, inputs)[sample], labels[sample])
                parameters = [family.module.get_parameter(name) for name in names]
                gradients = torch.autograd.grad(loss, parameters)
                per_sample.append(torch.cat([g[member].flatten() for g in gradients]))
            stacked = torch.stack(per_sample)
            mean = torch.cat([plain[name][member].flatten() for name in names])
            torch.testing.assert_close(stacked.mean(0), mean)
            trace = stacked.var(0, unbiased=True).sum().item()
            assert batch.noise[member, layer].item() == pytest.approx(trace, rel=1e-10)


def test_batch_of_one_has_no_noise() -> None:
    family = toy(2, [4])
    assert family.gradient(torch.zeros(2, 1, dtype=torch.int64), measure_noise=True).noise is None


@pytest.mark.parametrize("varies", ["seed", "data"])
def test_full_gradient_is_that_of_all_samples_and_leaves_grad_alone(varies: str) -> None:
    family = toy(2, [4], varies=varies)
    everything = torch.arange(family.dataset_size).expand(2, -1)
    family.gradient(everything, measure_noise=False)
    expected = {name: p.grad.clone() for name, p in family.module.named_parameters()}
    family.gradient(torch.zeros(2, 1, dtype=torch.int64), measure_noise=False)
    before = {name: p.grad.clone() for name, p in family.module.named_parameters()}
    full = family.full_gradient()
    for name, parameter in family.module.named_parameters():
        torch.testing.assert_close(full[name], expected[name])
        assert torch.equal(parameter.grad, before[name])


def test_ledger_is_the_sums_written_out() -> None:
    """W, Q, S and I of three transitions, summed here over members, inputs and classes."""
    family = toy(3, [4])
    ledger = Ledger(3)
    row = ledger.begin(0, family.begin())

    def probabilities() -> list[list[list[float]]]:
        return [torch.softmax(logits_of_one(family, k, family._probe), -1).tolist() for k in range(3)]

    before = probabilities()
    work = heat = 0.0
    for step in (1, 2, 3):
        family.gradient(torch.randint(40, (3, 5)), measure_noise=False)
        with torch.no_grad():
            for parameter in family.module.parameters():
                parameter -= 0.3 * parameter.grad
        row = ledger.advance(step, *family.transition())
        after = probabilities()
        conditional = marginal = 0.0
        for k in range(3):
            for i in range(7):
                for y in range(3):
                    p, q = before[k][i][y], after[k][i][y]
                    mixture = sum(after[j][i][y] for j in range(3)) / 3
                    work += p * math.log(p / q) / 21
                    heat += (p - q) * math.log(q) / 21
                    conditional -= q * math.log(q) / 21
                    marginal -= q * math.log(mixture) / 21
        assert row["work"] == pytest.approx(work, abs=1e-12)
        assert row["heat"] == pytest.approx(heat, abs=1e-12)
        assert row["entropy_conditional"] == pytest.approx(conditional, abs=1e-12)
        assert row["entropy_marginal"] == pytest.approx(marginal, abs=1e-12)
        assert row["l_info_lower"] == pytest.approx(marginal - conditional, abs=1e-12)
        assert row["l_info_lower"] <= row["l_info_upper"]
        before = after


def test_members_differ_and_seeds_repeat() -> None:
    first, second = toy(2, [4]), toy(2, [4])
    weight = first.module.layers[0].weight
    assert not torch.equal(weight[0], weight[1])
    assert torch.equal(weight, second.module.layers[0].weight)


def test_corrupted_labels_are_wrong_at_the_rate_asked_for_and_come_back() -> None:
    family = build(SoftmaxOptions(widths="8"), setup_of(2))
    clean = family._labels
    family.corrupt_labels(0.4)
    wrong = (family._labels != clean).double().mean().item()
    assert wrong == pytest.approx(0.4, abs=5 * math.sqrt(0.24 / len(clean)))
    family.corrupt_labels(0)
    assert torch.equal(family._labels, clean)


def test_temperature_goes_as_one_over_the_batch_size() -> None:
    """k_B T at equal θ, |b| = 10 against 100 on digits, without replacement: the finite-population prediction."""
    family = build(SoftmaxOptions(widths="50,50"), setup_of(4))
    means = {}
    for size in (10, 100):
        schedule = BatchSchedule(
            ensemble=4,
            dataset_size=family.dataset_size,
            batch_size=size,
            replacement=False,
            generator=torch.Generator().manual_seed(size),
        )
        factor = finite_population(size, family.dataset_size, replacement=False)
        draws = [family.gradient(schedule.next(), measure_noise=True).noise for _ in range(40)]
        traces = torch.stack([noise for noise in draws if noise is not None]).mean((0, 1)).double()
        means[size] = temperature(traces, 0.02, size, 1, factor)
        gradients = []
        for _ in range(40):
            family.gradient(schedule.next(), measure_noise=False)
            gradients.append(family.module.layers[1].weight.grad.flatten(1))
        full = family.full_gradient()["layers.1.weight"].flatten(1)
        eta = torch.stack(gradients) - full
        family.gradient(schedule.next(), measure_noise=False)
        direct = 0.02 / 2 * eta.square().sum(-1).mean().item()
        # The within-batch trace has the bias as well as the weight; its share is below the tolerance.
        assert means[size][1].item() == pytest.approx(direct, rel=0.15)
    predicted = 10 * (1 - 10 / family.dataset_size) / (1 - 100 / family.dataset_size)
    np.testing.assert_allclose((means[10] / means[100]).numpy(), predicted, rtol=0.1)


def test_digits_are_whole_and_their_parts_apart() -> None:
    images = load_digits()
    assert len(images.train) + len(images.held_out) == 1797
    assert images.train.min() == 0 and images.train.max() == 1
    assert sorted(set(images.train_labels)) == list(range(10))
    rows = {row.tobytes() for row in images.train}
    assert not any(row.tobytes() in rows for row in images.held_out)


@pytest.mark.parametrize("text", ["20,0", "20,x", "-3"])
def test_widths_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--widths"):
        parse_widths(text)


def test_no_hidden_layer_is_logistic_regression() -> None:
    assert [layer.name for layer in toy(2, parse_widths("")).layers] == ["output"]


def test_more_probe_inputs_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match=r"--probe-size 1000: digits has only 449"):
        build(SoftmaxOptions(), setup_of(2, probe_size=1000))


def test_too_many_members_for_disjoint_subsets_is_refused() -> None:
    with pytest.raises(InputError, match="--ensemble 21"):
        toy(21, [4], varies="data", subsets="disjoint")
