"""Two ranks of DistributedDataParallel: each writes a log, and the temperature is that of the averaged gradient."""

import os
import socket
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from thermotui.analysis.inspection import inspect_run
from thermotui.probe import Probe

STEPS, BATCH = 150, 8


def train(rank: int, port: int, directory: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2)))
    generator = torch.Generator().manual_seed(10 + rank)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gradients = []
    with Probe(model, optimizer, log=Path(directory) / "log.h5", window=20) as probe:
        for _ in range(STEPS):
            inputs = torch.randn(BATCH, 5, generator=generator)
            with probe.step():
                model.zero_grad()
                model(inputs).square().mean(1).mean().backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.module[0].parameters()]).numpy())
    np.save(f"{directory}/gradients-{rank}.npy", gradients)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(train, args=(port, str(tmp_path)), nprocs=2)
    averaged = np.load(tmp_path / "gradients-0.npy")
    np.testing.assert_array_equal(averaged, np.load(tmp_path / "gradients-1.npy"))
    scatter = averaged.var(0, ddof=1).sum()
    runs = set()
    for rank, name in enumerate(("log.h5", "log-rank1.h5")):
        with h5py.File(tmp_path / name) as file:
            rows = file["reservoir"][:]
            runs.add(file.attrs["run_id"])
            assert (file.attrs["rank"], file.attrs["world_size"]) == (rank, 2)
            assert not {"reversibility_gap", "temperature_full"} & set(rows.dtype.names)
        # θ is fixed, so that the averaged gradient's scatter over the steps is its noise.
        noise = rows["temperature"][:, 0].astype(float).mean() * 36 * 2 / 0.1
        np.testing.assert_allclose(noise, scatter, rtol=0.2)
    assert len(runs) == 1
    assert [rank.rank for rank in inspect_run(tmp_path / "log-rank1.h5").ranks] == [0, 1]
