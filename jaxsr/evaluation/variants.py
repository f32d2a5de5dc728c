"""Checks the variants of metrics in a protocol file, before anything is measured."""

import json
from collections.abc import Mapping
from typing import Any

from jaxsr.evaluation.protocols import ProtocolError, did_you_mean
from jaxsr.metrics.catalogue import METRICS
from jaxsr.metrics.lpips import NETS
from jaxsr.metrics.niqe import LUMAS
from jaxsr.metrics.niqe_model import load_niqe_model

_WORDS = {
    "niqe.luma": tuple(LUMAS),
    "lpips.net": tuple(NETS),
    "ssim.luma": ("rounded",),
    "ssim.contrast": ("clipped",),
}


def check_variants(variants: Mapping[str, Any], source: str) -> None:
    """Refuse settings that a metric does not have. Another library checks the settings of its own metrics.

    Args:
        variants: the variants of a protocol file, by the metric's name.
        source: the name of the file.
    Raises:
        ProtocolError: if a metric is unknown, does not have a setting or a value, or if a NIQE model is unreadable. The
            message names the file and the field.
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
            f"{place}: there is no file {value}; give its path, absolute or from the current folder."
        ) from error
    except (OSError, ValueError) as error:
        raise ProtocolError(f"{place} is {json.dumps(value)}, which cannot be read as a model: {error}.") from error
