"""The header out of a file's root attributes, each value checked: a file is not trusted input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from thermotui.runlog.schema import FORMAT, FORMAT_VERSION, Header, Layer

LIMITS = {"ensemble": 100_000, "lags": 100_000}
MAX_LAYERS = 100_000
ATTRIBUTES = ("format", "format_version", *(field.name for field in fields(Header)))
"""Names of the root attributes that make a header."""


def parse_header(attributes: Mapping[str, Any]) -> Header:
    """The header in root attributes as read (text as str). ValueError with the reason where they hold none.

    Fields that this version does not know are ignored; those that the file lacks have their defaults.
    """
    if attributes.get("format") != FORMAT:
        raise ValueError("is an HDF5 file, but not a run log of thermotui")
    version = attributes.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise ValueError("has no valid format_version")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"has format version {version}; this thermotui reads up to version {FORMAT_VERSION}: install a newer one"
        )
    values: dict[str, Any] = {}
    for field in fields(Header):
        if field.name in attributes:
            parse = _PARSERS.get(field.name) or _BY_TYPE[str(field.type)]
            try:
                values[field.name] = parse(attributes[field.name])
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise ValueError(f"has a broken header: field {field.name!r} {error}") from error
    missing = {"run_id", "created", "family", "layers"} - set(values)
    if missing:
        raise ValueError(f"has a broken header: field {min(missing)!r} is missing")
    for name, limit in LIMITS.items():
        if not 0 <= values.get(name, 0) <= limit:
            raise ValueError(f"has a broken header: field {name!r} is {values[name]}, not 0 to {limit}")
    return Header(**values)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("is not an integer")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("is not a finite number")
    return float(value)


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError("is not true or false")
    return bool(value)


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return str(value)

    return parse


def _json(value: Any, kind: type) -> Any:
    parsed = json.loads(_text(value))
    if not isinstance(parsed, kind):
        raise ValueError(f"is not a JSON {'object' if kind is dict else 'array'}")
    return parsed


def _mapping(value: Any) -> dict[str, Any]:
    result: dict[str, Any] = _json(value, dict)
    return result


def _text_mapping(value: Any) -> dict[str, str]:
    return {key: _text(item) for key, item in _mapping(value).items()}


def _layers(value: Any) -> tuple[Layer, ...]:
    items = _json(value, list)
    if len(items) > MAX_LAYERS:
        raise ValueError(f"lists more than {MAX_LAYERS} layers")
    layers = []
    for item in items:
        if not isinstance(item, dict):
            raise ValueError("is not a list of layers")
        layers.append(Layer(_text(item.get("name")), _integer(item.get("size")), _text(item.get("estimator", ""))))
    return tuple(layers)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "layers": _layers,
    "ensemble_varies": _one_of("seed", "data"),
    "marginal": _one_of("ensemble", "window", "none"),
    "figures": _text_mapping,
    "versions": _text_mapping,
    "detectors": _mapping,
    "config": _mapping,
    "notes": lambda value: tuple(_text(item) for item in _json(value, list)),
}
_BY_TYPE: dict[str, Callable[[Any], Any]] = {"str": _text, "int": _integer, "float": _number, "bool": _truth}
