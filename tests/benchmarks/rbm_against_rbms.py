"""Gibbs sampling and whole trainings of an RBM against the package `rbms` (0.5.0), and ln Z of what was learnt.

    python tests/benchmarks/rbm_against_rbms.py DIRECTORY [--updates 400] [--threads 2]

DIRECTORY holds MNIST's IDX files. Needs `pip install rbms==0.5.0`. Both train 784×500 machines on the same binarised
images with the same batch size, chains, sweeps, learning rate and number of updates. The two alternate, and processor
time stands beside wall time, so that what else the machine does falls on both alike. Prints Markdown tables.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from rbms.bernoulli_bernoulli.classes import BBRBM
from rbms.sampling.gibbs import sample_state

from trainers.data.images import load_images
from trainers.families.options import RBMOptions
from trainers.families.rbm import RBMFamily
from trainers.families.rbm_model import RBM, free_energy
from trainers.families.rbm_partition import estimate_log_partition
from trainers.samplers.gibbs import block_gibbs
from trainers.setup import Setup

HIDDEN = 500
CHAINS = 500
BATCH = 500
RATE = 0.05


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def gibbs(rounds: int = 15, sweeps: int = 5) -> None:
    """Time of one sweep, medians over alternating rounds."""
    generator = torch.Generator().manual_seed(0)
    weights = 0.05 * torch.randn(784, HIDDEN, generator=generator)
    visible_bias, hidden_bias = torch.zeros(784), torch.zeros(HIDDEN)
    visible = (torch.rand(CHAINS, 784, generator=generator) < 0.5).float()
    peer = BBRBM(weights, visible_bias, hidden_bias)
    state = peer.init_chains(CHAINS, start_v=visible)

    def ours() -> object:
        arguments = weights[None], visible_bias[None], hidden_bias[None], visible[None]
        return block_gibbs(*arguments, sweeps, generator)

    def theirs() -> object:
        return sample_state(chains=state, params=peer, gibbs_steps=sweeps)

    ours(), theirs()
    times = np.array([[seconds(ours), seconds(theirs)] for _ in range(rounds)]) / sweeps * 1e3
    (wall, processor), (peer_wall, peer_processor) = np.median(times, axis=0)
    print(f"Block Gibbs, 784×{HIDDEN}, {CHAINS} chains, one sweep:\n")
    print("| | wall, ms | processor, ms |\n|---|---|---|")
    print(f"| thermotui | {wall:.2f} | {processor:.2f} |")
    print(f"| rbms 0.5.0 | {peer_wall:.2f} | {peer_processor:.2f} |")
    print(f"| ratio | {wall / peer_wall:.2f} | {processor / peer_processor:.2f} |\n", flush=True)


def train_ours(data: np.ndarray, batches: torch.Tensor) -> RBM:
    """PCD-1 by the family's own gradient."""
    options = RBMOptions(hidden=HIDDEN, learning_chains=CHAINS)
    family = RBMFamily(data, options, Setup(1, "seed", "bootstrap", 64, 0, torch.device("cpu")))
    optimizer = torch.optim.SGD(family.module.parameters(), lr=RATE)
    for indices in batches:
        family.gradient(indices[None], measure_noise=False)
        optimizer.step()
    return family.module


def train_theirs(data: np.ndarray, batches: torch.Tensor) -> RBM:
    """PCD-1 by rbms' parameters, sampler and gradient."""
    rows = torch.from_numpy(data)
    torch.manual_seed(0)
    peer = BBRBM.init_parameters(HIDDEN, SimpleNamespace(data=data), torch.device("cpu"), torch.float32)
    chains = peer.init_chains(CHAINS)
    for parameter in peer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(peer.parameters(), lr=RATE, maximize=True)
    ones = torch.ones(BATCH)
    for indices in batches:
        batch = peer.sample_hiddens({"visible": rows[indices], "weights": ones})
        chains = sample_state(chains=chains, params=peer, gibbs_steps=1)
        peer.compute_gradient(data=batch, chains=chains, centered=False)
        optimizer.step()
    return RBM.from_weights(peer.weight_matrix.detach(), peer.vbias.detach(), peer.hbias.detach())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reference-steps", type=int, default=20_000)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    gibbs()

    images = load_images("mnist", arguments.directory)
    data, test = ((part > 0.5).astype(np.float32) for part in (images.train, images.held_out))
    base = np.log((data.mean(0) + 1e-4) / (1.0001 - data.mean(0)))
    batches = torch.randint(len(data), (arguments.updates, BATCH), generator=torch.Generator().manual_seed(0))
    print(f"PCD-1 of 784×{HIDDEN} on MNIST, {arguments.updates} updates of {BATCH}, {CHAINS} chains, r = {RATE}:\n")
    print("| | wall, s | processor, s | ln Z | test −ln p, nats |\n|---|---|---|---|---|")
    learnt = None
    for name, train in (("thermotui", train_ours), ("rbms 0.5.0", train_theirs)):
        machines: list[RBM] = []
        wall, processor = seconds(lambda train=train, machines=machines: machines.append(train(data, batches)))
        learnt = machines[0] if learnt is None else learnt
        found = estimate_log_partition(machines[0], base_bias=base, particles=128, steps=2000)
        theta = {n: p.float() for n, p in machines[0].parameters_by_name.items()}
        loss = float(free_energy(theta, torch.from_numpy(test)[None]).mean()) + found.value
        print(f"| {name} | {wall:.1f} | {processor:.1f} | {found.value:.2f} | {loss:.2f} |", flush=True)

    assert learnt is not None
    print("\nln Z of thermotui's machine:\n\n| annealing | value | 95 % interval | forward | reverse | wall, s |")
    print("|---|---|---|---|---|---|")
    for label, particles, steps, seed in (
        ("default", 128, 5000, 1),
        ("reference", 128, arguments.reference_steps, 2),
    ):
        start = time.perf_counter()
        found = estimate_log_partition(learnt, base_bias=base, particles=particles, steps=steps, seed=seed)
        assert found.forward is not None and found.reverse is not None
        low, high = found.interval
        print(
            f"| {label}: {particles} particles, {steps} temperatures | {found.value:.3f} | {low:.3f} … {high:.3f} | "
            f"{found.forward.value:.3f} | {found.reverse.value:.3f} | {time.perf_counter() - start:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
