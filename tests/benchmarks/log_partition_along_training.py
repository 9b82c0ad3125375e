"""The error of ln Z along whole trainings of 20×10 RBMs, sampled by weighted chains, against enumeration.

    python tests/benchmarks/log_partition_along_training.py [--chains 16384] [--steps 2000]

Eight machines learn 20 pixels of the bundled digits by PCD-1 at learning rate 0.3. Prints a Markdown table. Some
minutes on one core.
"""

import argparse

import numpy as np
import torch

from trainers.data.images import load_digits
from trainers.families.options import RBMOptions
from trainers.families.rbm import RBMFamily
from trainers.families.rbm_model import exact_log_partition
from trainers.setup import Setup

MEMBERS = 8


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=16384)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--stride", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = load_digits().train.reshape(-1, 8, 8)
    data = (images[:, 1:6, 2:6].reshape(-1, 20) > 0.5).astype(np.float32)
    options = RBMOptions(hidden=10, partition="sampled", chains=arguments.chains, check_every=0)
    family = RBMFamily(data, options, Setup(MEMBERS, "seed", "bootstrap", 64, 0, torch.device("cpu")))
    optimizer = torch.optim.SGD(family.module.parameters(), lr=0.3)
    generator = torch.Generator().manual_seed(1)
    family.begin()
    work, errors, standard_errors = np.zeros(MEMBERS), [], []
    for step in range(1, arguments.steps + 1):
        indices = torch.randint(len(data), (MEMBERS, 100), generator=generator)
        family.gradient(indices, measure_noise=False)
        optimizer.step()
        if step % arguments.stride == 0:
            transition, reading = family.transition()
            slots = reading.log_partition
            assert slots is not None
            work += transition.work.mean(1)
            errors.append(slots.mean(1) - exact_log_partition(family.module.parameters_by_name).numpy())
            standard_errors.append(slots.std(1, ddof=1) / np.sqrt(slots.shape[1]))
    scores = np.array(errors) / np.array(standard_errors)
    print("| machine | work, nats | largest error of ln Z, nats | last standard error | rms error in standard errors |")
    print("|---|---|---|---|---|")
    for k in range(MEMBERS):
        largest = np.abs(np.array(errors)[:, k]).max()
        rms = np.sqrt(np.mean(np.square(scores[:, k])))
        print(f"| {k} | {work[k]:.0f} | {largest:.3f} | {standard_errors[-1][k]:.3f} | {rms:.2f} |")


if __name__ == "__main__":
    main()
