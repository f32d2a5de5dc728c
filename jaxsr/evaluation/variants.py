"""The variants of metrics that a protocol file asks for, checked before anything is measured."""

import json
from collections.abc import Mapping
from typing import Any

from jaxsr.evaluation.protocols import ProtocolError, did_you_mean
from jaxsr.metrics.catalogue import METRICS
from jaxsr.metrics.lpips import NETS
from jaxsr.metrics.niqe import LUMAS
from jaxsr.metrics.niqe_model import load_niqe_model

_WORDS = {"niqe.luma": tuple(LUMAS), "lpips.net": tuple(NETS)}


def check_variants(variants: Mapping[str, Any], source: str) -> None:
    """Refuse what no metric has; what a metric of another library takes, that library tells.

    Args:
        variants: of a protocol file, by the metric's name.
        source: names the file.
    Raises:
        ProtocolError: for an unknown metric, a setting or a value that the metric does not have, or a NIQE model that
            cannot be read; naming the file and the field.
    """
    for name, settings in variants.items():
        if name not in METRICS:
            raise ProtocolError(f"{source}: variants: there is no metric {name!r}{did_you_mean(name, METRICS)}.")
        if not isinstance(settings, dict):
            raise ProtocolError(f"{source}: variants.{name} must be an object, not {json.dumps(settings)}.")
        for key, value in settings.items():
            _check_setting(name, key, value, f"{source}: variants.{name}.{key}")


def _check_setting(name: str, key: str, value: Any, place: str) -> None:
    keys, words = METRICS[name].settings, _WORDS.get(f"{name}.{key}")
    if keys is not None and key not in keys:
        raise ProtocolError(f"{place}: {name} has no such variant; it has {', '.join(keys) or 'none'}.")
    if words and value not in words:
        raise ProtocolError(f"{place} is {json.dumps(value)}; use one of {', '.join(map(json.dumps, words))}.")
    if (name, key) == ("niqe", "model"):
        _check_niqe_model(value, place)


def _check_niqe_model(value: Any, place: str) -> None:
    if not isinstance(value, str):
        raise ProtocolError(f"{place} is {json.dumps(value)}; give the path of a file in quotes.")
    try:
        load_niqe_model(value)
    except FileNotFoundError as error:
        raise ProtocolError(
            f"{place}: there is no file {value}; give its path, whole or from where you are."
        ) from error
    except (OSError, ValueError) as error:
        raise ProtocolError(f"{place} is {json.dumps(value)}, which cannot be read as a model: {error}.") from error
