"""How often the 95 % intervals of every family hold the truth, on versions small enough to know it.

    python tests/benchmarks/family_coverage.py [--replicates 200] [--only rbm]

Each family's three members follow one short training. Then everything random in the measurement, and nothing else, is
repeated: each replicate measures the same transition, and its interval, estimate ± 1.96 standard errors, is held
against sums over all states, quadrature or closed forms. Prints a Markdown table. Minutes on one core.
"""

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from thermotui.thermo.information import categorical_reading, categorical_transition, log_mixture, sampled_reading
from thermotui.thermo.ledger import mean_and_error
from thermotui.thermo.transition import Reading, Transition
from trainers.data.images import load_digits
from trainers.data.text import Windows
from trainers.families.draws import double
from trainers.families.ebm import EBM
from trainers.families.options import EBMOptions, RBMOptions, SoftmaxOptions, TransformerOptions, VAEOptions
from trainers.families.rbm import RBMFamily
from trainers.families.rbm_measure import Chains, ExactDraws
from trainers.families.rbm_model import state_log_weights
from trainers.families.softmax import build as build_softmax
from trainers.families.transformer import TransformerFamily
from trainers.families.vae import VAE
from trainers.families.vae_measure import JointMeasure
from trainers.samplers.population import Population
from trainers.setup import Setup

MEMBERS = 3
Measured = tuple[Transition, Reading]
Truth = dict[str, float]


@dataclass(frozen=True)
class Case:
    """A family in small: what is true of its last transition, and an endless supply of measurements of it."""

    name: str
    truth: Truth
    measure: Callable[[int], Measured]


def figures(transition: Transition, reading: Reading) -> dict[str, tuple[float, float]]:
    """Estimate and standard error, over slots and members, as the ledger has them."""
    slots = {"dW": transition.work, "dQ": transition.heat, "S_{X|Θ}": reading.entropy_conditional}
    if reading.log_partition is not None:
        slots["ln Z"] = reading.log_partition
    if reading.entropy_marginal is not None:
        slots["L-info, lower"] = reading.entropy_marginal - reading.entropy_conditional
    if reading.l_info_upper is not None:
        slots["L-info, upper"] = reading.l_info_upper
    return {name: mean_and_error(values) for name, values in slots.items()}


def table_truth(before: np.ndarray, after: np.ndarray) -> Truth:
    """Everything from the two tables ln p [K, states]."""
    found = figures(categorical_transition(before[:, None], after[:, None]), categorical_reading(after[:, None]))
    return {name: value for name, (value, _) in found.items()}


def setup(seed: int = 0, probe_size: int = 256) -> Setup:
    return Setup(MEMBERS, "seed", "bootstrap", probe_size, seed, torch.device("cpu"))


def trajectory(family, steps: int, rate: float, batch: int = 50) -> list[dict[str, torch.Tensor]]:
    """Train and keep every θ."""
    family.begin()
    optimizer = torch.optim.SGD(family.module.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(1)
    path = [double(dict(family.module.named_parameters()))]
    for _ in range(steps):
        indices = torch.randint(family.dataset_size, (MEMBERS, batch), generator=generator)
        family.gradient(indices, measure_noise=False)
        optimizer.step()
        path.append(double(dict(family.module.named_parameters())))
    return path


def put(module: torch.nn.Module, theta: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(theta[name])


def rbm_cases() -> Iterator[Case]:
    images = load_digits().train.reshape(-1, 8, 8)
    patches = (images[:, 1:6, 2:6].reshape(-1, 20) > 0.5).astype(np.float32)
    family = RBMFamily(patches, RBMOptions(hidden=10), setup())
    path = trajectory(family, 30, 0.3)
    tables = [state_log_weights(theta, "visible") for theta in path[-2:]]
    log_z = tables[1].logsumexp(1)
    before, after = ((table - table.logsumexp(1, keepdim=True)).numpy() for table in tables)
    truth = table_truth(before, after) | {"ln Z": float(log_z.mean())}

    def chains(seed: int) -> Measured:
        generator = torch.Generator().manual_seed(1000 + seed)
        measure = Chains(512, path[0]["visible_bias"][0], generator, seed)
        measure.begin(path[0])
        for theta in path[1:-1]:
            measure._parameters = {name: tensor.float() for name, tensor in theta.items()}
            measure.population.transition(theta, 1)
        return measure.transition(path[-1], 1)

    def draws(seed: int) -> Measured:
        measure = ExactDraws(512, torch.Generator().manual_seed(2000 + seed))
        measure.begin(path[-2])
        return measure.transition(path[-1], 1)

    yield Case("RBM 20×10, weighted chains", truth, chains)
    yield Case("RBM 20×10, exact draws", {n: v for n, v in truth.items() if n != "ln Z"}, draws)


def ebm_cases() -> Iterator[Case]:
    random = np.random.default_rng(0)
    data = np.where(random.random(2000) < 0.5, -1.5, 1.5)[:, None] + 0.5 * random.normal(size=(2000, 1))
    options = EBMOptions(widths="16", tau=5, chains=1024, step_size=0.1)
    family = EBM(data.astype(np.float32), options, setup())
    path = trajectory(family, 40, 0.05)
    x = torch.linspace(-9, 9, 6001, dtype=torch.float64)
    energies = [-family._energy(theta, x.expand(MEMBERS, -1).unsqueeze(-1)).detach() for theta in path[-2:]]
    log_z = energies[1].logsumexp(1) + math.log(18 / 6000)
    before, after = ((e - e.logsumexp(1, keepdim=True)).numpy() for e in energies)
    truth = table_truth(before, after) | {"ln Z": float(log_z.mean())}
    # From probabilities of the cells of the grid to densities.
    truth["S_{X|Θ}"] += math.log(18 / 6000)
    start = math.log(2 * math.pi * family._variance) / 2

    def measure(seed: int) -> Measured:
        family._generator.manual_seed(seed)
        put(family.module, path[0])
        positions = family._base_samples(1024, family._generator)
        population = Population(
            family._energy, family._sweep, path[0], positions, np.full((MEMBERS, 1), start), seed=seed
        )
        for theta in path[1:]:
            put(family.module, theta)
            transition = population.transition(theta, 5)
        return transition, population.reading()

    yield Case("EBM in one dimension", truth, measure)


def vae_cases() -> Iterator[Case]:
    random = np.random.default_rng(0)
    data = random.normal(size=(1000, 1)) @ np.array([[1.0, -0.5]]) + 0.3 * random.normal(size=(1000, 2))
    options = VAEOptions(pixels="gaussian", pixel_sigma=0.5, latent=1, widths="")
    family = VAE(data.astype(np.float32), options, setup())
    path = trajectory(family, 30, 0.02)
    weights, biases = ([theta[f"decoder.layers.0.{n}"].numpy() for theta in path[-2:]] for n in ("weight", "bias"))
    change = np.square(weights[1] - weights[0]).sum((1, 2)) + np.square(biases[1] - biases[0]).sum(1)
    work = float(change.mean() / (2 * 0.25))
    entropy = 0.5 * math.log(2 * math.pi * math.e) + math.log(2 * math.pi * math.e * 0.25)
    # Probabilistic PCA: p(x|z) = N(Wz + b, σ²). L-info by nested Gauss–Hermite rules over z and over x given z.
    nodes, mass = np.polynomial.hermite_e.hermegauss(40)
    mass = mass / mass.sum()
    means = np.einsum("kld,z->kzd", weights[1], nodes) + biases[1][:, None]
    noise = 0.5 * np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    squares = np.square(means[:, None, :, None] + noise - means[None, :, :, None]).sum(-1)  # [k, j, z, x]
    log_p = np.swapaxes(-squares / (2 * 0.25), 0, 1)
    lower = log_p[range(MEMBERS), range(MEMBERS)] - log_mixture(log_p)
    upper = [log_p[k, k] - log_mixture(np.delete(log_p[:, k], k, axis=0)) for k in range(MEMBERS)]
    mean = lambda v: float(np.einsum("kzx,z,x->k", np.array(v), mass, np.outer(mass, mass).ravel()).mean())  # noqa: E731
    truth = {"dW": work, "dQ": -work, "L-info, lower": mean(lower), "L-info, upper": mean(upper)}
    truth |= {"S_{X|Θ}": entropy}

    def measure(seed: int) -> Measured:
        generator = torch.Generator().manual_seed(seed)
        joint = JointMeasure(family.module, family._pixels, 1, 256, generator)
        put(family.module, path[-2])
        joint.begin()
        put(family.module, path[-1])
        return joint.transition()

    yield Case("linear VAE (probabilistic PCA)", truth, measure)


def transformer_cases() -> Iterator[Case]:
    length, alphabet = 6, 4
    random = np.random.default_rng(0)
    tokens = np.cumsum(random.integers(0, 3, size=(800, length)), axis=1) % alphabet
    options = TransformerOptions(width=8, depth=1, heads=2, context_length=length)
    family = TransformerFamily(Windows(tokens, b"abcd"), options, setup(probe_size=128))
    path = trajectory(family, 30, 0.05)
    every = np.stack(np.meshgrid(*[np.arange(alphabet)] * length, indexing="ij"), -1).reshape(-1, length)
    sequences = torch.from_numpy(every).expand(MEMBERS, -1, -1)
    truth = table_truth(*(family._sequence_log_p(theta, sequences) for theta in path[-2:]))

    def measure(seed: int) -> Measured:
        generator = torch.Generator().manual_seed(seed)
        family._uniform = torch.rand(MEMBERS, 128, length, generator=generator)
        put(family.module, path[-2])
        family.begin()
        put(family.module, path[-1])
        return family.transition()

    yield Case(f"transformer, {alphabet}^{length} sequences", truth, measure)


def softmax_cases() -> Iterator[Case]:
    family = build_softmax(SoftmaxOptions(widths="32"), setup())
    path = trajectory(family, 30, 0.1)
    inputs = torch.from_numpy(load_digits().train)
    tables = []
    for theta in path[-2:]:
        put(family.module, theta)
        with torch.no_grad():
            tables.append(family.module(inputs.expand(MEMBERS, -1, -1)).double().log_softmax(-1).numpy())
    found = figures(categorical_transition(*tables), categorical_reading(tables[1]))

    def measure(seed: int) -> Measured:
        chosen = np.random.default_rng(seed).integers(len(inputs), size=256)
        before, after = (table[:, chosen] for table in tables)
        return categorical_transition(before, after), categorical_reading(after)

    yield Case("softmax classifier", {name: value for name, (value, _) in found.items()}, measure)


def gaussian_cases() -> Iterator[Case]:
    """The model's work, heat and S are closed forms, with no error; measured is the L-info of its mixture."""
    before, after = np.array([-0.7, 0.1, 0.5]), np.array([-0.6, 0.2, 0.45])
    x = np.linspace(-12, 12, 20001)
    tables = [-0.5 * np.square(x - mean[:, None]) for mean in (before, after)]
    logs = [t - np.logaddexp.reduce(t, axis=1, keepdims=True) for t in tables]
    truth = table_truth(*logs)
    truth["S_{X|Θ}"] += math.log(24 / 20000)
    norm = 0.5 * math.log(2 * math.pi)

    def measure(seed: int) -> Measured:
        random = np.random.default_rng(seed)
        old, new = (mean[:, None] + random.normal(size=(3, 256)) for mean in (before, after))
        phi = lambda x, mean: 0.5 * np.square(x - mean) + norm  # noqa: E731
        crossed = phi(old, after[:, None])
        delta = crossed - phi(old, before[:, None])
        log_p = -phi(new[:, None, :], after[None, :, None])
        reading = sampled_reading(log_p)
        return Transition(delta + np.expm1(-delta), phi(new, after[:, None]) - crossed), reading

    yield Case("Gaussian mean, by sampling", truth, measure)


CASES = {
    "rbm": rbm_cases,
    "ebm": ebm_cases,
    "vae": vae_cases,
    "transformer": transformer_cases,
    "softmax": softmax_cases,
    "gaussian": gaussian_cases,
}


def rows(case: Case, replicates: int) -> Iterator[tuple[str, float, float, float, float]]:
    """(figure, truth, coverage, root mean square error, mean standard error) for every figure of a case."""
    measured = [figures(*case.measure(seed)) for seed in range(replicates)]
    for name, truth in case.truth.items():
        values, errors = np.array([m[name] for m in measured]).T
        # Where nothing is sampled the error is rounding.
        floor = 1e-9 * max(1.0, abs(truth))
        hits = np.abs(values - truth) <= 1.96 * errors + floor
        yield name, truth, float(hits.mean()), float(np.sqrt(np.mean((values - truth) ** 2))), float(errors.mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--only", choices=list(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("error", RuntimeWarning)
    print("| family | figure | truth, nats | rms error | mean standard error | 95 % intervals that hold it |")
    print("|---|---|---|---|---|---|")
    for name, cases in CASES.items():
        if arguments.only not in (None, name):
            continue
        for case in cases():
            for figure, truth, coverage, error, mean_error in rows(case, arguments.replicates):
                numbers = f"{truth:.5g} | {error:.2g} | {mean_error:.2g} | {100 * coverage:.1f} %"
                print(f"| {case.name} | {figure} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
