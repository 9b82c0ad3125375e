"""What every family promises, on small versions of all of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from thermotui.errors import InputError
from thermotui.thermo.ledger import Ledger
from trainers.config import resolve
from trainers.families.registry import FAMILIES
from trainers.setup import Setup

SMALL = {
    "rbm": {"hidden": 5},
    "rbm bars": {"hidden": 4, "data": "bars-and-stripes"},
    "rbm chains": {"hidden": 8, "partition": "sampled", "chains": 128},
    "rbm CD": {"hidden": 5, "persistent": False},
    "ebm": {"data": "rings", "widths": "16", "chains": 128, "tau": 2},
    "ebm plain": {"data": "moons", "widths": "16", "chains": 128, "metropolis": False, "step_size": 0.02},
    "vae": {"widths": "16", "latent": 3},
    "vae gaussian": {"widths": "", "latent": 2, "pixels": "gaussian"},
    "vae visible": {"widths": "16", "latent": 2, "variables": "visible", "importance_samples": 4},
    "transformer": {"width": 8, "depth": 2, "heads": 2, "context_length": 6},
}
RATES = {"rbm": 0.1, "ebm": 0.01, "vae": 2e-4, "transformer": 0.05}


def build(case, ensemble=3, seed=0):
    name = case.split()[0]
    _, options = resolve(name, SMALL[case])
    return FAMILIES[name].build(options, Setup(ensemble, "seed", "bootstrap", 32, seed, torch.device("cpu")))


def train(family, steps, generator):
    optimizer = torch.optim.SGD(family.module.parameters(), lr=RATES[family.name])
    for _ in range(steps):
        indices = torch.randint(family.dataset_size, (family.ensemble, 20), generator=generator)
        batch = family.gradient(indices, measure_noise=False)
        optimizer.step()
    return batch


@pytest.mark.parametrize("case", SMALL)
def test_laws_hold_along_a_training(case):
    family = build(case)
    ledger, generator = Ledger(3), torch.Generator().manual_seed(0)
    row = ledger.begin(0, family.begin())
    assert row["work"] == row["heat"] == 0
    for step in range(1, 9):
        batch = train(family, 3, generator)
        transition, reading = family.transition()
        row = ledger.advance(step, transition, reading)
        assert transition.work.shape[0] == transition.heat.shape[0] == 3
        # Bounds of −ln p(x) owe the second law nothing.
        if family.figures.get("work") != "substitute":
            assert transition.work.mean() >= -1e-12
            assert row["work"] > 0
        assert abs(row["first_law_residual"]) <= 4 * row["first_law_residual_se"] + 1e-9
    assert torch.isfinite(batch.loss).all()
    assert batch.loss.shape == batch.accuracy.shape == (3,)
    assert -1e-9 - 4 * row["l_info_lower_se"] <= row["l_info_lower"] <= np.log(3) + 1e-9
    assert row["l_info_upper"] >= row["l_info_lower"] - 4 * row["l_info_upper_se"]


@pytest.mark.parametrize("case", SMALL)
def test_a_restored_state_goes_on_exactly(case):
    family, generator = build(case, ensemble=2), torch.Generator().manual_seed(0)
    family.begin()
    train(family, 4, generator)
    family.transition()
    train(family, 2, generator)
    parameters = {name: p.detach().clone() for name, p in family.module.named_parameters()}
    # Through a file, like a checkpoint: no generator or array may be shared.
    state = _through_bytes(family.state_dict())
    position = generator.get_state()

    def go_on(of):
        generator.set_state(position)
        train(of, 3, generator)
        transition, reading = of.transition()
        return [transition.work, transition.heat, reading.entropy_conditional, reading.entropy_marginal]

    expected = go_on(family)
    other = build(case, ensemble=2, seed=9)
    # The data set and its starting values hang on the seed where it is drawn; take the first family's.
    for name in ("_data", "_variance"):
        if hasattr(family, name):
            setattr(other, name, getattr(family, name))
    for name, buffer in family.module.named_buffers():
        other.module.get_buffer(name).copy_(buffer)
    with torch.no_grad():
        for name, parameter in other.module.named_parameters():
            parameter.copy_(parameters[name])
    other.load_state_dict(state)
    for left, right in zip(expected, go_on(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("case", SMALL)
def test_a_diverged_training_goes_on_with_nan(case):
    family, generator = build(case, ensemble=2), torch.Generator().manual_seed(0)
    ledger = Ledger(2)
    ledger.begin(0, family.begin())
    with torch.no_grad():
        for parameter in family.module.parameters():
            parameter[0] = torch.nan
    for step in range(1, 4):
        batch = family.gradient(torch.randint(20, (2, 10), generator=generator), measure_noise=True)
        with np.errstate(invalid="ignore"):
            row = ledger.advance(step, *family.transition())
    assert torch.isnan(batch.loss[0]) and torch.isfinite(batch.loss[1])
    assert np.isnan(row["work"])


@pytest.mark.parametrize("case", ["rbm", "ebm", "vae", "transformer"])
def test_a_single_run_has_the_window_in_place_of_the_ensemble(case):
    family = build(case, ensemble=1)
    ledger, generator = Ledger(1), torch.Generator().manual_seed(0)
    row = ledger.begin(0, family.begin())
    assert row["l_info_window"] == pytest.approx(0, abs=1e-9)
    for step in range(1, 4):
        train(family, 5, generator)
        row = ledger.advance(step, *family.transition())
    assert np.isnan(row["l_info_lower"])
    assert 0 < row["l_info_window"] <= np.log(4)
    assert family.figures["entropy_marginal"] == "substitute"


@pytest.mark.parametrize("case", ["rbm", "rbm CD", "rbm chains", "ebm", "vae", "vae gaussian", "transformer"])
def test_noise_predicts_the_variance_of_the_gradient(case):
    """trace / b against the scatter of the gradient over fresh batches at the same θ and freshly relaxed chains."""
    family, generator = build(case, ensemble=1), torch.Generator().manual_seed(0)
    family.begin()
    train(family, 10, generator)
    gradients, predicted = [], []
    for _ in range(500 if family.name == "rbm" else 120):
        indices = torch.randint(family.dataset_size, (1, 10), generator=generator)
        predicted.append(family.gradient(indices, measure_noise=True).noise[0] / 10)
        parameters = dict(family.module.named_parameters())
        gradients.append(
            [torch.cat([parameters[name].grad.flatten() for name in names]) for names in family.layer_parameters]
        )
    for layer in range(len(family.layers)):
        scatter = torch.stack([row[layer] for row in gradients]).var(0).sum()
        mean = torch.stack(predicted)[:, layer].mean()
        assert mean == pytest.approx(float(scatter), rel=0.2), family.layers[layer].name


@pytest.mark.parametrize(
    ("family", "values", "words"),
    [
        ("rbm", {"tau": 0}, "--tau 0 must be at least 1"),
        ("rbm", {"hidden": 0}, "--hidden 0 must be at least 1"),
        (
            "rbm",
            {"hidden": 40, "partition": "exact"},
            r"--hidden 40: .* 2\^40 states; take at most 20 hidden units, or --partition sampled",
        ),
        ("rbm", {"data_dir": Path("here")}, "--data-dir here: --data digits needs no files; .* --data mnist"),
        ("rbm", {"data": "bars-and-stripes", "data_dir": Path("here")}, "--data bars-and-stripes needs no files"),
        ("ebm", {"data_dir": Path("here")}, "--data eight-gaussians needs no files"),
        ("rbm", {"hidden": 40, "chains": 100}, "--chains 100 must be a multiple of 64"),
        ("ebm", {"tau": 0}, "--tau 0 must be at least 1"),
        ("ebm", {"step_size": -1.0}, "--step-size -1.0 must be positive"),
        ("ebm", {"widths": "a"}, "--widths a is not"),
        ("vae", {"latent": 0}, "--latent 0 must be at least 1"),
        ("vae", {"pixel_sigma": 0.0}, "--pixel-sigma 0.0 must be positive"),
        ("transformer", {"width": 10, "heads": 4}, "--width 10 must be a multiple of --heads 4"),
        ("transformer", {"context_length": 0}, "--context-length 0 must be at least 1"),
        ("transformer", {"context_length": 10**6}, "^the bundled text: .* --context-length 1000000"),
    ],
)
def test_impossible_settings_get_one_sentence(family, values, words):
    _, options = resolve(family, values)
    with pytest.raises(InputError, match=words):
        FAMILIES[family].build(options, Setup(2, "seed", "bootstrap", 32, 0, torch.device("cpu")))


def test_exact_is_never_quietly_sampled():
    """More members than there is room for tables, and more hidden units than can be summed over."""
    _, options = resolve("rbm", {"data": "bars-and-stripes", "hidden": 25, "partition": "exact"})
    with pytest.raises(InputError, match=r"--ensemble 65: .* tables of 2\^16 .* at most 64 members or 20 hidden units"):
        FAMILIES["rbm"].build(options, Setup(65, "seed", "bootstrap", 32, 0, torch.device("cpu")))
    family = FAMILIES["rbm"].build(options, Setup(64, "seed", "bootstrap", 32, 0, torch.device("cpu")))
    assert family.figures["log_partition"] == "exact"


def test_no_ensemble_is_an_input_error():
    with pytest.raises(InputError, match="--ensemble 0"):
        resolve("rbm", {"ensemble": 0})


def _through_bytes(state):
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def test_the_gradient_of_the_transformers_embedding_adds_up_in_one_order():
    """Bit for bit, however many threads there are: a run that is resumed would part from the straight one."""
    family = build("transformer")
    module = family.module
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, (3, 20000, 6), generator=generator)
    weights = torch.randn(3, 20000, 6, 8, generator=generator)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [torch.autograd.grad((module._embed(tokens) * weights).sum(), module.tokens)[0] for _ in range(200)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found)
