"""Gibbs sampling and whole trainings of an RBM against the package `rbms` (0.5.0), and ln Z of what was learnt.

    python tests/benchmarks/rbm_against_rbms.py DIRECTORY [gibbs] [training] [partition] [--updates 300] [--threads 2]

DIRECTORY holds MNIST's IDX files. Needs `pip install rbms==0.5.0`.

gibbs: one sweep of block Gibbs sampling; the two alternate. training: both train 784×500 machines on the same binarised
images with the same batch size, chains, sweeps, learning rate, initial scale and number of updates, and ln Z of each is
found by the same annealing: from the parts of either package, then by either's own command, ours with all of the
thermodynamics and the log, theirs with its archive. partition: ln Z of the machine learnt, against a long reference.
Processor time stands beside wall time. Prints Markdown tables.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from rbms.bernoulli_bernoulli.classes import BBRBM
from rbms.dataset.dataset_class import RBMDataset
from rbms.io import load_params
from rbms.sampling.gibbs import sample_state
from rbms.training.pcd import train as rbms_train
from rbms.training.utils import get_checkpoints

from thermotui.runlog.reader import RunLogReader
from trainers import loop
from trainers.checkpoint import load_checkpoint
from trainers.config import resolve
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
INITIAL_SCALE = 1e-4
"""Standard deviation of the initial weights, as `rbms` has it."""
PARTS = ("gibbs", "training", "partition")


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


def train_ours(data: np.ndarray, updates: int) -> RBM:
    """PCD-1 by the family's own gradient."""
    options = RBMOptions(hidden=HIDDEN, learning_chains=CHAINS, initial_scale=INITIAL_SCALE)
    family = RBMFamily(data, options, Setup(1, "seed", "bootstrap", 64, 0, torch.device("cpu")))
    optimizer = torch.optim.SGD(family.module.parameters(), lr=RATE)
    for indices in batches(data, updates):
        family.gradient(indices[None], measure_noise=False)
        optimizer.step()
    return family.module


def train_ours_whole(directory: Path, updates: int) -> RBM:
    """`thermotui train rbm`: the same learning with the thermodynamics, the reservoir, the detectors and the log."""
    values = {
        "data": "mnist",
        "data_dir": directory,
        "hidden": HIDDEN,
        "learning_chains": CHAINS,
        "batch_size": BATCH,
        "learning_rate": RATE,
        "initial_scale": INITIAL_SCALE,
        "steps": updates,
        "ensemble": 1,
        "device": "cpu",
    }
    config, options = resolve("rbm", values)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "run.h5"
        loop.train("rbm", config, options, log, lambda progress: None)
        with RunLogReader(log) as reader:
            state = load_checkpoint(log, reader.header)["module"]
    return RBM.from_weights(*(state[name][0] for name in ("weights", "visible_bias", "hidden_bias")))


def train_theirs(data: np.ndarray, updates: int) -> RBM:
    """PCD-1 by rbms' parameters, sampler and gradient."""
    rows = torch.from_numpy(data)
    torch.manual_seed(0)
    peer = BBRBM.init_parameters(HIDDEN, SimpleNamespace(data=data), torch.device("cpu"), torch.float32, INITIAL_SCALE)
    chains = peer.init_chains(CHAINS)
    peer.init_grad()
    optimizer = torch.optim.SGD(peer.parameters(), lr=RATE, maximize=True)
    ones = torch.ones(BATCH)
    for indices in batches(data, updates):
        batch = peer.init_chains(BATCH, weights=ones, start_v=rows[indices])
        chains = sample_state(chains=chains, params=peer, gibbs_steps=1)
        peer.compute_gradient(data=batch, chains=chains, centered=False)
        optimizer.step()
    return RBM.from_weights(peer.weight_matrix, peer.vbias, peer.hbias)


class PlainGradient(BBRBM):
    """rbms' machine without the division of the gradient by its norm, for which our learning rate has no equal."""

    def normalize_grad(self) -> None:
        """Leave the gradient as it is."""

    @staticmethod
    def set_named_parameters(named_params: dict[str, torch.Tensor]) -> "PlainGradient":
        """The machine of these parameters."""
        return PlainGradient(**named_params)


def train_theirs_whole(data: np.ndarray, updates: int) -> RBM:
    """rbms' own training with its archive of 50 checkpoints, its plain gradient and its defaults otherwise."""
    torch.manual_seed(0)
    count = len(data)
    nothing = np.zeros(count)
    dataset = RBMDataset(data, nothing, np.ones(count), nothing, "MNIST", True, device="cpu")
    models = {"BBRBM": PlainGradient}
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "machine.h5")
        arguments = dict.fromkeys(("beta", "L1", "L2", "seed", "restore"))
        arguments |= {
            "filename": file, "overwrite": True, "restore": False, "log": False, "training_type": "pcd",
            "num_hiddens": HIDDEN, "num_chains": CHAINS, "batch_size": BATCH, "gibbs_steps": 1, "learning_rate": RATE,
            "num_updates": updates, "no_center": True, "train_size": 1.0, "test_size": None,
            "device": torch.device("cpu"), "dtype": torch.float32,
        }  # fmt: skip
        kept = get_checkpoints(updates, 50)
        rbms_train(dataset, dataset, "BBRBM", arguments, torch.float32, kept, map_model=models)
        peer = load_params(file, updates, torch.device("cpu"), torch.float32, map_model=models)
    return RBM.from_weights(peer.weight_matrix, peer.vbias, peer.hbias)


def batches(data: np.ndarray, updates: int) -> torch.Tensor:
    """Indices of the samples of every update, [updates, batch]."""
    return torch.randint(len(data), (updates, BATCH), generator=torch.Generator().manual_seed(0))


def binarised(directory: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training and test rows of 0 and 1, and the logit of the training rows' mean."""
    images = load_images("mnist", directory)
    data, test = ((part > 0.5).astype(np.float32) for part in (images.train, images.held_out))
    return data, test, np.log((data.mean(0) + 1e-4) / (1.0001 - data.mean(0)))


def training(directory: Path, updates: int) -> None:
    """Time and test likelihood of whole trainings at equal settings."""
    data, test, base = binarised(directory)
    ways: Mapping[str, Callable[[], RBM]] = {
        "thermotui, the gradient alone": lambda: train_ours(data, updates),
        "rbms 0.5.0, the gradient alone": lambda: train_theirs(data, updates),
        "`thermotui train rbm`, thermodynamics and log": lambda: train_ours_whole(directory, updates),
        "rbms 0.5.0's `train` and archive": lambda: train_theirs_whole(data, updates),
    }
    print(f"PCD-1 of 784×{HIDDEN} on MNIST, {updates} updates of {BATCH}, {CHAINS} chains, r = {RATE}:\n")
    print("| | wall, s | processor, s | ln Z | test −ln p, nats |\n|---|---|---|---|---|")
    for name, train in ways.items():
        machines: list[RBM] = []
        wall, processor = seconds(lambda train=train, machines=machines: machines.append(train()))
        found = estimate_log_partition(machines[0], base_bias=base, particles=128, steps=1000)
        theta = {n: p.float() for n, p in machines[0].parameters_by_name.items()}
        loss = float(free_energy(theta, torch.from_numpy(test)[None]).double().mean()) + found.value
        numbers = f"{wall:.1f} | {processor:.1f} | {found.value:.2f} ± {found.standard_error:.2f} | {loss:.2f}"
        print(f"| {name} | {numbers} |", flush=True)


def partition(directory: Path, updates: int, reference_steps: int) -> None:
    """ln Z by default against a longer annealing from another seed."""
    data, _, base = binarised(directory)
    learnt = train_ours(data, updates)
    print(f"\nln Z of the machine after {updates} updates:\n")
    print("| annealing | value | 95 % interval | forward | reverse | wall, s |")
    print("|---|---|---|---|---|---|")
    for label, particles, steps, seed in (("default", 128, 5000, 1), ("reference", 128, reference_steps, 2)):
        start = time.perf_counter()
        found = estimate_log_partition(learnt, base_bias=base, particles=particles, steps=steps, seed=seed)
        assert found.forward is not None and found.reverse is not None
        low, high = found.interval
        print(
            f"| {label}: {particles} particles, {steps} temperatures | {found.value:.3f} | {low:.3f} … {high:.3f} | "
            f"{found.forward.value:.3f} | {found.reverse.value:.3f} | {time.perf_counter() - start:.0f} |",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reference-steps", type=int, default=20_000)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    parts = arguments.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    if "gibbs" in parts:
        gibbs()
    if "training" in parts:
        training(arguments.directory, arguments.updates)
    if "partition" in parts:
        partition(arguments.directory, arguments.updates, arguments.reference_steps)


if __name__ == "__main__":
    main()
