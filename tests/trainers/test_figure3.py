"""Figure 3 at a size for tests: the fused step is SGD, the log holds what it says, a resumed run goes on exactly."""

import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from thermotui.errors import InputError
from trainers.batched import BatchedLinear, BatchedMLP
from trainers.figure3 import Figure3Config, StoppedError, run_figure3
from trainers.figure3_step import sgd_step


@pytest.mark.parametrize("batch_size", [1, 7])
def test_fused_step_is_sgd_on_the_mean_cross_entropy(batch_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    module = BatchedMLP(3, [6, 5, 4, 3], generator=generator).double()
    inputs = torch.randn(3, batch_size, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (3, batch_size), generator=generator)
    loss = torch.nn.functional.cross_entropy(module(inputs).flatten(0, 1), labels.flatten(), reduction="sum")
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss / batch_size, parameters)
    expected = [p.detach() - 0.1 * g for p, g in zip(parameters, gradients, strict=True)]
    sgd_step([layer for layer in module.layers if isinstance(layer, BatchedLinear)], inputs, labels, 0.1)
    for parameter, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value)


def tiny(directory: Path) -> Figure3Config:
    return Figure3Config(directory, members=3, steps=110, batch_sizes=(1, 10), data="digits", forces=2)


def table(path: Path, name: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][:]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return run_figure3(tiny(tmp_path_factory.mktemp("figure3")))


def test_noise_goes_with_one_over_the_batch_size(finished: list[Path]) -> None:
    one, ten = (table(path, "reservoir") for path in finished)
    # At step 0 both have the same parameters.
    np.testing.assert_allclose(one["temperature"][0] / ten["temperature"][0], 10, rtol=0.15)
    correlation = table(finished[0], "autocorrelation")
    assert correlation["step"].tolist() == [55]
    assert (correlation["autocorrelation"][0, :, 0] == 1).all()
    measured = np.isfinite(one["force"][:, 0])
    assert measured[0] and (one["force_max"][measured] <= one["force"][measured]).all()
    accuracy = table(finished[1], "steps")["accuracy"]
    assert accuracy[-1] > accuracy[0] + 0.1


def test_resumed_run_is_the_uninterrupted_one(finished: list[Path], tmp_path: Path) -> None:
    def stop(batch_size: int, step: int) -> None:
        if (batch_size, step) == (10, 66):
            signal.raise_signal(signal.SIGTERM)

    config = tiny(tmp_path)
    with pytest.raises(StoppedError, match="step 66; continue with --resume"):
        run_figure3(config, progress=stop)
    assert table(config.log(10), "heartbeat")["state"][-1] == b"interrupted"
    with pytest.raises(InputError, match="--resume"):
        run_figure3(config)
    checkpoint = config.checkpoint(10).rename(tmp_path / "aside")
    with pytest.raises(InputError, match="ends at step 66 and its checkpoint is gone"):
        run_figure3(config, resume=True)
    whole = torch.load(checkpoint)
    halved = checkpoint.read_bytes()[: checkpoint.stat().st_size // 2]
    for damaged in (
        halved,
        b"",
        b"hello world\n",
        [1],
        {},
        *({k: v for k, v in whole.items() if k != key} for key in whole),
    ):
        if isinstance(damaged, bytes):
            config.checkpoint(10).write_bytes(damaged)
        else:
            torch.save(damaged, config.checkpoint(10))
        with pytest.raises(
            InputError, match=r"b10\.pt: is no checkpoint of this version, or a damaged one; remove .*b10"
        ):
            run_figure3(config, resume=True)
    torch.save(whole | {"device": "elsewhere"}, config.checkpoint(10))
    with pytest.raises(InputError, match="was made on elsewhere"):
        run_figure3(config, resume=True)
    checkpoint.rename(config.checkpoint(10))
    for resumed, whole in zip(run_figure3(config, resume=True), finished, strict=True):
        for name in ("steps", "members", "reservoir", "autocorrelation"):
            again, expected = table(resumed, name), table(whole, name)
            for column in set(expected.dtype.names) - {"time"}:
                np.testing.assert_array_equal(again[column], expected[column], err_msg=f"{name}.{column}")
    assert not list(tmp_path.glob("*.pt"))


def test_bad_settings_are_refused_in_words(tmp_path: Path) -> None:
    for options, words in (
        ({"members": 1}, "at least 2"),
        ({"steps": 50}, "at least 110"),
        ({"batch_sizes": (1, 1)}, "different positive integers"),
        ({"learning_rate": -1.0}, "must be positive"),
        ({"forces": 0}, "must lie in"),
    ):
        with pytest.raises(InputError, match=words):
            Figure3Config(tmp_path, **options)


def test_members_start_as_one_and_part(finished: list[Path]) -> None:
    parameters = table(finished[0], "members")["parameters"]
    assert (parameters[0] == parameters[0, :1]).all()
    assert len(np.unique(parameters[-1][:, 0])) == 3
