"""Metrics under a protocol: which may be measured with the images at hand, and under which conditions."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxsr.evaluation.protocols import Protocol
from jaxsr.metrics.catalogue import METRICS, Conditions


class MetricError(ValueError):
    """An unknown metric, or one that needs images that are not given."""


def conditions(
    protocol: Protocol, name: str, *, grey: bool = False, network: Mapping[str, Any] | None = None
) -> Conditions:
    """The conditions under which a protocol measures the metric `name`.

    Args:
        protocol: what is compared, and how.
        name: of the metric, whose settings the protocol may change.
        grey: the originals are grey files.
        network: parameters of the metric's network.
    """
    same = ("scale", "border", "colour", "round_luma", "grey_luma", "bits", "seed")
    taken = {field: getattr(protocol, field) for field in same}
    return Conditions(**taken, grey=grey, settings=protocol.variant(name), network=network or {})


def check_metrics(names: Sequence[str], protocol: Protocol, *, target: bool, lr: bool) -> tuple[str, ...]:
    """Check the names of metrics and return each once.

    Args:
        names: as the user gave them.
        protocol: whose settings of the metrics are checked too.
        target, lr: whether there are originals, LR images.
    Raises:
        MetricError: for an unknown metric, one that needs missing images, or a setting that it does not have.
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


def default_metrics(protocol: Protocol, *, target: bool, lr: bool) -> tuple[str, ...]:
    """The metrics that the protocol names, without those that need missing originals (`target`) or LR images (`lr`)."""
    known = ((name, METRICS[name]) for name in check_metrics(protocol.metrics, protocol, target=True, lr=True))
    return tuple(name for name, one in known if (target or not one.needs_target) and (lr or not one.needs_lr))


def describe(name: str, protocol: Protocol) -> str:
    """What exactly a metric measures under a protocol, in words."""
    return METRICS[name].describe(conditions(protocol, name))


def why_missing(name: str, protocol: Protocol) -> str | None:
    """The reason why a metric is unavailable on this machine, or None."""
    return METRICS[name].missing(conditions(protocol, name))
