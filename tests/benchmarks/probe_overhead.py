"""What the probe costs beside its peers, × one bare training step, in one run, on one CPU thread or on a GPU.

    python tests/benchmarks/probe_overhead.py [--rounds 24] [--case 100|512|transformer|large] [--device cuda]

MLP 784-200-200-200-10 at |b| = 100 and 512, and a decoder of 10 million parameters, 8 × 128 tokens; on a GPU, which
such batches leave idle most of the time, 128 × 256 tokens as well.
Peers are measured where they are installed: backpack-for-pytorch (its Variance extension), opacus (its per-sample
gradients) and torch.func (vmap of grad).
Within a round the bare step and the probe take turns, some steps each, since the machine's speed changes within a
second by more than what is measured; models are made anew each round, since where their tensors lie in memory alone
makes some per cent of difference. The same turn does the same work in every round: the table has the median over the
rounds, averaged over the turns, and its standard error. Peers have one turn in every third round. The probe flushes to
the log once in about a second, as it does by itself, but always in the same turn. Times are of this thread on a CPU, of
the clock on a GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from thermotui.probe import Probe
from thermotui.probe import log as probe_log

TURNS = 16
"""Turns that a rival has in a round."""
PEERS = 3
"""Every so many rounds the peers have a turn."""

Case = tuple[nn.Module, Tensor, Tensor]


class Loop(NamedTuple):
    """One that trains."""

    run: Callable[[int], None]
    """So many steps."""
    finish: Callable[[], None] = lambda: None
    """What is left to do after them."""


Maker = Callable[[ExitStack], Loop]


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        parts = self.mixed(self.first(hidden)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts, is_causal=True).transpose(1, 2).flatten(2)
        hidden = hidden + self.output(mixed)
        return hidden + self.down(F.gelu(self.up(self.second(hidden))))


class Decoder(nn.Module):
    """10.2 million parameters: 5 blocks of width 384, a vocabulary of 1,700."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(1700, 384)
        self.blocks = nn.Sequential(*(Block(384, 6) for _ in range(5)))
        self.norm, self.head = nn.LayerNorm(384), nn.Linear(384, 1700, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embedding(tokens)))).mT


def mlp(batch: int, device: str) -> Case:
    torch.manual_seed(0)
    widths = [784, 200, 200, 200, 10]
    layers: list[nn.Module] = []
    for index in range(4):
        layers += [nn.Linear(widths[index], widths[index + 1]), nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).to(device)
    return model, torch.randn(batch, 784, device=device), torch.randint(10, (batch,), device=device)


def decoder(device: str, sequences: int = 8, length: int = 128) -> Case:
    torch.manual_seed(0)
    tokens = torch.randint(1700, (2, sequences, length), device=device)
    return Decoder().to(device), tokens[0], tokens[1]


def bare(case: Case) -> Loop:
    model, inputs, targets = case
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            # Kept in a variable as in every loop, and as in the probe's: freeing it takes time as well.
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()

    return Loop(run)


def probed(case: Case, stack: ExitStack, **options: Any) -> Loop:
    """The stack closes the log and removes it."""
    model, inputs, targets = case
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thermotui-overhead-")))
    probe = stack.enter_context(Probe(model, optimizer, log=directory / "log.h5", **options))

    def run(steps: int) -> None:
        for _ in range(steps):
            with probe.step() as step:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(inputs), targets)
                loss.backward()
                optimizer.step()
                step.record(loss=loss)

    # What waits for the log is part of the cost, however short the run is.
    return Loop(run, probe._log.flush)


def per_sample(case: Case) -> Loop:
    model, inputs, targets = case
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    parameters = dict(model.named_parameters())

    def phi(values: dict[str, Tensor], sample: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, values, (sample.unsqueeze(0),)), target.unsqueeze(0))

    gradients = vmap(grad(phi), in_dims=(None, 0, 0))

    def run(steps: int) -> None:
        for _ in range(steps):
            found = gradients(parameters, inputs, targets)
            for name, parameter in parameters.items():
                parameter.grad = found[name].mean(0)
                found[name].var(0).sum()
            optimizer.step()

    return Loop(run)


def backpack(case: Case) -> Loop:
    from backpack import backpack as extensions
    from backpack import extend
    from backpack.extensions import Variance

    model, inputs, targets = case
    model, lossfunc = extend(model), extend(nn.CrossEntropyLoss())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with extensions(Variance()):
                lossfunc(model(inputs), targets).backward()
            for parameter in model.parameters():
                parameter.variance.sum()
            optimizer.step()

    return Loop(run)


def opacus(case: Case) -> Loop:
    from opacus import GradSampleModule

    model, inputs, targets = case
    wrapped = GradSampleModule(model)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=1e-3)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(wrapped(inputs), targets).backward()
            for parameter in wrapped.parameters():
                parameter.grad_sample.var(0).sum()
                parameter.grad_sample = None
            optimizer.step()

    return Loop(run)


def measure(
    rivals: dict[str, Maker], steps: int, flushed: int, rounds: int, device: str
) -> tuple[list[float], dict[str, list[list[float]]]]:
    """Seconds a bare step, by round, and of each rival the ratios to it, by round and turn.

    Every round goes through all of them with models made anew; the probe flushes every `flushed` steps.
    """
    taking_turns = {name: make for name, make in rivals.items() if name.startswith(("bare", "probe"))}
    turns = min(TURNS, steps)
    bare: list[float] = []
    ratios: dict[str, list[list[float]]] = {name: [] for name in rivals}
    for at in range(rounds):
        found = in_turn(taking_turns, steps // turns, turns, turns * flushed // steps, device)
        step = found["bare step"]
        bare.append(statistics.mean(step))
        for name, seconds in found.items():
            ratios[name].append([one / plain for one, plain in zip(seconds, step, strict=True)])
        for name in rivals.keys() - taking_turns if at % PEERS == 0 else ():
            found = in_turn({name: rivals[name]}, max(steps // 68, 1), 1, 1, device)
            ratios[name].append([found[name][0] / bare[-1]])
    return bare, ratios


def in_turn(rivals: dict[str, Maker], steps: int, turns: int, flushed: int, device: str) -> dict[str, list[float]]:
    """Seconds a step of each rival by turn, of so many steps each; every `flushed` turns they finish."""
    names = list(rivals)
    found: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        loops = {name: make(stack) for name, make in rivals.items()}
        for loop in loops.values():
            loop.run(2 if device == "cpu" else 10)
            loop.finish()
        for turn in range(turns):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                start = now(device)
                loops[name].run(steps)
                if (turn + 1) % flushed == 0:
                    loops[name].finish()
                found[name].append((now(device) - start) / steps)
    return found


def now(device: str) -> float:
    """Seconds of this thread on a CPU, of the clock on a GPU."""
    if device == "cpu":
        return time.thread_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def median(ratios: list[list[float]]) -> tuple[float, float]:
    """The median over the rounds, averaged over the turns, each of which does the same in every round; its error."""
    table = np.array(ratios)
    drawn = np.random.default_rng(0).integers(len(table), size=(1000, len(table)))
    error = np.median(table[drawn], axis=1).mean(-1).std() if len(table) > 1 else math.nan
    return float(np.median(table, axis=0).mean()), float(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument(
        "--case", choices=("100", "512", "transformer", "large"), action="append", help="all without it"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args()
    if options.device == "cpu" and "large" in (options.case or ()):
        parser.error("--case large takes minutes a step on a processor; give --device cuda")
    torch.set_num_threads(1)
    device = options.device
    # Steps of a round, and after how many of them the probe flushes: they take about a second.
    few = 2 if device == "cpu" else 64
    cases: dict[str, tuple[str, Callable[[], Case], int, int]] = {
        "100": ("MLP, |b| = 100", lambda: mlp(100, device), 544, 544),
        "512": ("MLP, |b| = 512", lambda: mlp(512, device), 272, 136),
        "transformer": ("transformer, 8 × 128", lambda: decoder(device), few, few),
    }
    probe_log.FLUSH_SECONDS = math.inf
    if device == "cuda":
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
        cases["large"] = ("transformer, 128 × 256", lambda: decoder(device, 128, 256), 16, 16)
    for name in options.case or cases:
        title, make, steps, flushed = cases[name]
        rivals: dict[str, Maker] = {
            "bare step": lambda _, make=make: bare(make()),
            "probe, every step": lambda stack, make=make: probed(make(), stack),
        }
        if name in ("100", "512"):
            # Windows of the autocorrelation come once in 16 windows: the steps cover a whole period.
            rivals["probe, interval 16"] = lambda stack, make=make: probed(make(), stack, interval=16, window=17)
            rivals["torch.func per sample"] = lambda _, make=make: per_sample(make())
            if importlib.util.find_spec("backpack"):
                rivals["backpack Variance"] = lambda _, make=make: backpack(make())
            if importlib.util.find_spec("opacus"):
                rivals["opacus per sample"] = lambda _, make=make: opacus(make())
        bare_step, ratios = measure(rivals, steps, flushed, options.rounds, device)
        print(f"{title}: bare step {statistics.median(bare_step) * 1e3:.2f} ms, best {min(bare_step) * 1e3:.2f} ms")
        for rival, by_round in ratios.items():
            ratio, error = median(by_round)
            print(f"  {rival:24} × {ratio:7.3f} ± {error:5.3f}   in {len(by_round):2} rounds")


if __name__ == "__main__":
    main()
