"""Metrics under a protocol: which metrics the given images allow, and the conditions of each metric."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxsr.evaluation.protocols import Protocol
from jaxsr.metrics.catalogue import METRICS, Conditions
from jaxsr.metrics.perceptual_files import present_path


class MetricError(ValueError):
    """An unknown metric, or one that needs images that are not given."""


def conditions(
    protocol: Protocol, name: str, *, grey: bool = False, network: Mapping[str, Any] | None = None
) -> Conditions:
    """Return the conditions under which a protocol measures the metric `name`.

    Args:
        protocol: what is compared, and how.
        name: name of the metric. The protocol may change its settings.
        grey: whether the originals are grey files.
        network: parameters of the metric's network.
    """
    shared = ("scale", "border", "colour", "round_luma", "grey_luma", "bits", "seed")
    values = {field: getattr(protocol, field) for field in shared}
    return Conditions(**values, grey=grey, settings=protocol.variant(name), network=network or {})


def check_metrics(names: Sequence[str], protocol: Protocol, *, target: bool, lr: bool) -> tuple[str, ...]:
    """Check the names of metrics and return each name once.

    Args:
        names: the names that the user gave.
        protocol: the protocol, whose settings of these metrics are checked too.
        target, lr: whether there are originals, and whether there are LR images.
    Raises:
        MetricError: if a metric is unknown, needs missing images, or does not have a setting of the protocol.
    """
    for name in names:
        if name not in METRICS:
            raise MetricError(f"--metrics: no {name!r}; choose among {', '.join(METRICS)}.")
        if METRICS[name].needs_target and not target:
            raise MetricError(f"--metrics: {name} needs the originals; give --target, or leave it out.")
        if METRICS[name].needs_lr and not lr:
            raise MetricError(f"--metrics: {name} needs the LR images; give --lr, or leave it out.")
        known = METRICS[name].settings
        if known is not None and (unknown := protocol.variant(name).keys() - set(known)):
            has = f"it has {', '.join(known)}" if known else "it has none of its own"
            raise MetricError(f"protocol {protocol.name}: {name} has no variant {', '.join(sorted(unknown))}; {has}.")
    return tuple(dict.fromkeys(names))


def default_metrics(protocol: Protocol, *, target: bool, lr: bool, networks: Sequence[str] = ()) -> tuple[str, ...]:
    """List the protocol's metrics, except metrics that need missing originals (`target`) or LR images (`lr`).

    Those of `networks` join them whose weights are on this machine; nothing is downloaded.
    """
    there = [name for name in networks if _has_weights(name, protocol)]
    known = (
        (name, METRICS[name]) for name in check_metrics([*protocol.metrics, *there], protocol, target=True, lr=True)
    )
    return tuple(name for name, metric in known if (target or not metric.needs_target) and (lr or not metric.needs_lr))


def _has_weights(name: str, protocol: Protocol) -> bool:
    weights = METRICS[name].weights(conditions(protocol, name))
    return weights is not None and present_path(weights) is not None


def describe(name: str, protocol: Protocol) -> str:
    """Describe in words exactly what a metric measures under a protocol."""
    return METRICS[name].describe(conditions(protocol, name))


def why_missing(name: str, protocol: Protocol) -> str | None:
    """Return the reason why a metric is unavailable on this machine, or None."""
    return METRICS[name].missing(conditions(protocol, name))
