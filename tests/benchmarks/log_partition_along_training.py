"""The error of ln Z along whole trainings of 20×10 RBMs, sampled by weighted chains, against enumeration.

    python tests/benchmarks/log_partition_along_training.py [--seeds 0 1 2 3 4 5 6 7] [--chains 16384] [--stride 1]

One machine a seed learns 20 pixels of the bundled digits by PCD-1 at learning rate 0.3; ln Z is compared at every
transition, by default at every step. Prints a Markdown table, a row as each machine is done. Half a minute a machine on
one idle core.
"""

import argparse

import numpy as np
import torch

from thermotui.thermo.ledger import mean_and_error
from trainers.data.images import load_digits
from trainers.families.draws import double
from trainers.families.options import RBMOptions
from trainers.families.rbm import RBMFamily
from trainers.families.rbm_measure import Chains
from trainers.families.rbm_model import exact_log_partition
from trainers.setup import Setup

BATCH = 100


def row(seed: int, data: np.ndarray, chains: int, steps: int, stride: int) -> str:
    """Train one machine, and compare."""
    options = RBMOptions(hidden=10, partition="sampled", chains=chains, check_every=0)
    family = RBMFamily(data, options, Setup(1, "seed", "bootstrap", 64, seed, torch.device("cpu")))
    optimizer = torch.optim.SGD(family.module.parameters(), lr=0.3)
    generator = torch.Generator().manual_seed(1000 + seed)
    family.begin()
    # The chains alone: their mixtures, which a whole reading takes as well, cost several times as much.
    measure = family._measure
    assert isinstance(measure, Chains)
    work, errors, standard_errors = 0.0, [], []
    for step in range(1, steps + 1):
        family.gradient(torch.randint(len(data), (1, BATCH), generator=generator), measure_noise=False)
        optimizer.step()
        if step % stride == 0:
            theta = double(dict(family.module.named_parameters()))
            measure._parameters = {name: tensor.float() for name, tensor in theta.items()}
            transition = measure.population.transition(theta, stride)
            slots = measure.population.trajectory.reading().log_partition
            assert slots is not None
            work += float(transition.work.mean())
            errors.append(float(slots.mean() - exact_log_partition(theta)))
            standard_errors.append(mean_and_error(slots)[1])
    largest = int(np.argmax(np.abs(errors)))
    rms = np.sqrt(np.mean(np.square(np.array(errors) / standard_errors)))
    return (
        f"| {seed} | {work:.0f} | {errors[largest]:+.3f} at step {(largest + 1) * stride:,} | "
        f"{standard_errors[-1]:.3f} | {rms:.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(8))
    parser.add_argument("--chains", type=int, default=16384)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--stride", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = load_digits().train.reshape(-1, 8, 8)
    data = (images[:, 1:6, 2:6].reshape(-1, 20) > 0.5).astype(np.float32)
    print("| seed | work, nats | largest error of ln Z, nats | last standard error | rms error in standard errors |")
    print("|---|---|---|---|---|")
    for seed in arguments.seeds:
        print(row(seed, data, arguments.chains, arguments.steps, arguments.stride), flush=True)


if __name__ == "__main__":
    main()
