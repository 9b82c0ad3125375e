"""EBM by quadrature, linear VAE in closed form, transformer by enumeration."""

import math

import numpy as np
import pytest
import torch

from thermotui.errors import InputError
from trainers.data.text import Windows, load_windows
from trainers.families.ebm import EBM
from trainers.families.options import EBMOptions, TransformerOptions, VAEOptions
from trainers.families.transformer import TransformerFamily
from trainers.families.vae import VAE


def train(family, steps, rate, batch=50):
    optimizer = torch.optim.SGD(family.module.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        indices = torch.randint(family.dataset_size, (family.ensemble, batch), generator=generator)
        family.gradient(indices, measure_noise=False)
        optimizer.step()


def score(slots, truth):
    """Distance from the truth in standard errors, [K]."""
    return (slots.mean(1) - truth) / (slots.std(1, ddof=1) / math.sqrt(slots.shape[1]))


def test_energy_based_model_against_quadrature(make_setup):
    random = np.random.default_rng(0)
    data = (np.where(random.random(1000) < 0.5, -1.5, 1.5) + 0.5 * random.normal(size=1000))[:, None]
    options = EBMOptions(widths="16", tau=5, chains=1024, step_size=0.1)
    family = EBM(data.astype(np.float32), options, make_setup(ensemble=3))
    x = torch.linspace(-9, 9, 4001, dtype=torch.float64)

    def log_density():
        theta = {name: p.detach().double() for name, p in family.module.named_parameters()}
        log_p = -family._energy(theta, x.expand(3, -1).unsqueeze(-1)).detach().numpy()
        log_z = np.logaddexp.reduce(log_p, axis=1) + math.log(x[1] - x[0])
        return log_p - log_z[:, None], log_z

    begun = family.begin()
    np.testing.assert_allclose(begun.log_partition.mean(1), log_density()[1], rtol=1e-6)
    for _ in range(10):
        before, _ = log_density()
        train(family, 3, 0.05)
        transition, reading = family.transition()
    after, log_z = log_density()
    cell = float(x[1] - x[0])
    divergence = (np.exp(before) * (before - after)).sum(1) * cell
    entropy = -(np.exp(after) * after).sum(1) * cell
    assert np.abs(score(transition.work, divergence)).max() < 4.5
    assert np.abs(score(reading.log_partition, log_z)).max() < 4
    assert np.abs(score(reading.entropy_conditional, entropy)).max() < 4


def test_linear_gaussian_autoencoder_is_a_closed_form(make_setup):
    random = np.random.default_rng(0)
    data = (random.normal(size=(500, 2)) @ random.normal(size=(2, 5))).astype(np.float32)
    options = VAEOptions(pixels="gaussian", pixel_sigma=0.5, latent=2, widths="")
    family = VAE(data, options, make_setup(ensemble=2, probe_size=4096))
    family.begin()
    parameters = dict(family.module.named_parameters())
    before = {name: p.detach().double().numpy().copy() for name, p in parameters.items()}
    train(family, 5, 0.005)
    transition, reading = family.transition()
    change = [
        np.square(parameters[f"decoder.layers.0.{n}"].detach().numpy() - before[f"decoder.layers.0.{n}"])
        for n in ("weight", "bias")
    ]
    divergence = (change[0].sum((1, 2)) + change[1].sum(1)) / (2 * 0.25)
    assert np.abs(score(transition.work, divergence)).max() < 4
    entropy = math.log(2 * math.pi * math.e) + 2.5 * math.log(2 * math.pi * math.e * 0.25)
    np.testing.assert_allclose(reading.entropy_conditional, entropy, rtol=1e-12)
    np.testing.assert_allclose(transition.work + transition.heat, 0, atol=1e-10)


def test_importance_weighted_bound_lies_above_and_closes_in(make_setup):
    random = np.random.default_rng(0)
    data = (random.random((300, 6)) < 0.4).astype(np.float32)

    def bound(samples):
        options = VAEOptions(latent=1, widths="8", variables="visible", importance_samples=samples)
        family = VAE(data, options, make_setup(ensemble=2, probe_size=512))
        train(family, 20, 0.05)
        family.begin()
        return family

    family = bound(1)
    states = torch.tensor([[s >> i & 1 for i in range(6)] for s in range(64)], dtype=torch.float64)
    nodes, mass = np.polynomial.hermite_e.hermegauss(60)
    theta = {name: p.detach().double() for name, p in family.module.named_parameters()}
    logits = torch.func.functional_call(family.module, theta, (torch.from_numpy(nodes)[:, None].expand(2, -1, -1),))
    log_p_x_z = -family._pixels.negative_log_p(logits[:, None], states[None, :, None])
    log_p = np.logaddexp.reduce(log_p_x_z.detach().numpy() + np.log(mass / mass.sum()), axis=2)
    truth = float(-(np.exp(log_p) * log_p).sum(1).mean())
    one, many = (bound(n)._measure.begin().entropy_conditional.mean() for n in (1, 64))
    assert truth - 0.15 < many < one + 0.02


@pytest.fixture
def transformer(make_setup):
    random = np.random.default_rng(0)
    tokens = np.cumsum(random.integers(0, 2, size=(400, 5)), axis=1) % 3
    options = TransformerOptions(width=8, depth=2, heads=2, context_length=5)
    return TransformerFamily(Windows(tokens, b"abc"), options, make_setup(ensemble=2, probe_size=2000))


def test_transformer_against_every_sequence(transformer):
    family = transformer
    every = np.stack(np.meshgrid(*[np.arange(3)] * 5, indexing="ij"), -1).reshape(-1, 5)
    sequences = torch.from_numpy(every).expand(2, -1, -1)

    def table():
        theta = {name: p.detach().double() for name, p in family.module.named_parameters()}
        return family._sequence_log_p(theta, sequences)

    family.begin()
    train(family, 20, 0.05)
    family.transition()
    before = table()
    np.testing.assert_allclose(np.exp(before).sum(1), 1, rtol=1e-12)
    # The draws follow the table.
    numbers = (family._drawn * 3 ** torch.arange(4, -1, -1)).sum(-1)
    for member in range(2):
        frequency = np.bincount(numbers[member], minlength=243) / 2000
        p = np.exp(before[member])
        common = p > 0.002
        error = np.sqrt(p * (1 - p) / 2000)
        assert np.abs((frequency - p) / error)[common].max() < 4.5
        assert frequency[~common].sum() == pytest.approx(p[~common].sum(), abs=0.02)
    train(family, 5, 0.05)
    transition, reading = family.transition()
    after = table()
    assert np.abs(score(transition.work, (np.exp(before) * (before - after)).sum(1))).max() < 4
    assert np.abs(score(reading.entropy_conditional, -(np.exp(after) * after).sum(1))).max() < 4
    heat = -((np.exp(after) - np.exp(before)) * after).sum(1)
    assert np.abs(score(transition.heat, heat)).max() < 4
    first_law = transition.work + transition.heat
    assert np.abs(first_law.mean() - (reading.entropy_conditional - _entropies(family, before)).mean()) < 0.2


def _entropies(family, table):
    return -(np.exp(table) * table).sum(1)[:, None]


def test_text_is_cut_into_windows_of_its_own_bytes(tmp_path):
    path = tmp_path / "poem.txt"
    path.write_bytes(b"abcabcabcab")
    windows = load_windows(path, 4)
    assert windows.alphabet == b"abc"
    assert windows.decode(windows.tokens[1]) == "bcab"
    bundled = load_windows(None, 32)
    assert "Alice was beginning" in "".join(bundled.decode(row) for row in bundled.tokens[:8])


@pytest.mark.parametrize(("content", "words"), [(b"abc", "too few"), (b"a" * 100, "all its bytes"), (None, "No such")])
def test_texts_that_cannot_be_learnt_are_input_errors(tmp_path, content, words):
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        load_windows(path, 8)
