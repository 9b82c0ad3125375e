"""Options: typed, checked, written into the header and read back."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from thermotui.errors import InputError
from trainers.config import TrainConfig, flat, from_flat, resolve, spelled
from trainers.families.registry import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_defaults_that_survive_the_header(family: str) -> None:
    config, options = resolve(family, {})
    assert from_flat(family, json.loads(json.dumps(flat(config, options)))) == (config, options)


def test_everything_survives_the_header() -> None:
    values = {
        "data_dir": Path("/somewhere"),
        "widths": "3,4",
        "learning_rate_at": ("5:0.1",),
        "corrupt_labels": ("3:9:0.5",),
        "stop_on": ("divergence",),
        "replacement": False,
    }
    config, options = resolve("softmax", values)
    assert from_flat("softmax", json.loads(json.dumps(flat(config, options)))) == (config, options)


def test_a_relative_path_is_found_again_from_elsewhere() -> None:
    config, options = resolve("transformer", {"text": Path("a.txt")})
    assert from_flat("transformer", flat(config, options))[1].text == Path("a.txt").resolve()


def test_families_do_not_redefine_common_options() -> None:
    common = {field.name for field in dataclasses.fields(TrainConfig)}
    for family in FAMILIES.values():
        assert not common & {field.name for field in dataclasses.fields(family.options)}
        assert set(family.defaults) <= common


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 0}, "--steps 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"ensemble": -1}, "--ensemble -1"),
        ({"stride": 0}, "--stride 0"),
        ({"full_stride": -1}, "--full-stride -1"),
        ({"learning_rate": 0.0}, "--learning-rate 0"),
        ({"learning_rate": math.nan}, "--learning-rate nan"),
        ({"learning_rate": math.inf}, "--learning-rate inf"),
        ({"probe_size": 3}, "--probe-size 3 must be at least 4"),
        ({"seed": -1}, "--seed -1"),
        ({"stop_on": ("boredom",)}, "--stop-on boredom is no kind of alert; the kinds are loss_spike"),
        ({"learning_rate_at": ("5",)}, "--learning-rate-at 5 is not of the form STEP:VALUE"),
        ({"learning_rate_at": ("x:1",)}, "STEP:VALUE"),
        ({"learning_rate_at": ("0:1",)}, "--learning-rate-at 0:1"),
        ({"learning_rate_at": ("5:nan",)}, "--learning-rate-at 5:nan"),
        ({"corrupt_labels": ("5:6",)}, "START:STOP:FRACTION"),
        ({"corrupt_labels": ("6:6:0.5",)}, "--corrupt-labels 6:6:0.5"),
        ({"corrupt_labels": ("1:6:2",)}, "--corrupt-labels 1:6:2"),
        ({"corrupt_labels": ("1:6:.5", "5:8:.5")}, "must not overlap"),
        ({"beauty": 3}, "has no option --beauty"),
    ],
)
def test_bad_values_are_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as error:
        resolve("softmax", values)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        (family, field.name)
        for family, entry in FAMILIES.items()
        for field in (*dataclasses.fields(TrainConfig), *dataclasses.fields(entry.options))
        if isinstance(field.default, float)
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_option_takes_what_is_not_a_finite_number(family: str, name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^{spelled(name)} {value} must be a finite number"):
        resolve(family, {name: value})


def test_an_unknown_family_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="'transformers' is no family; the families are gaussian, softmax"):
        resolve("transformers", {})
