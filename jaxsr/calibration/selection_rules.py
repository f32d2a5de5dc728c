"""The choice of a closed loop's candidate by rules such as `max perception, lose <= 0.5 dB`, and the Pareto front.

A table maps the names of metrics to one number per candidate (the mean over images). Losses are relative to the plain
sampler, the candidate of scale 0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxsr.metrics.catalogue import METRICS, Metric

Table = Mapping[str, Float[np.ndarray, " k"]]


_GRAMMAR = re.compile(
    r"(max|min)\s+([\w-]+)(?:\s*,\s*lose\s*(?:<=|≤)\s*(\d+\.?\d*|\.\d+)\s*(%|[a-z][\w-]*))?", re.IGNORECASE
)


@dataclass(frozen=True)
class Rule:
    """A rule: pick the best `metric` among the candidates that lose at most `budget` of `guard`.

    Without a guard, the rule picks among all candidates. With `relative`, the budget is a fraction of the plain
    sampler's value.
    """

    metric: str
    guard: str | None = None
    budget: float = 0.0
    relative: bool = False


def rule_metrics() -> dict[str, Metric]:
    """Return the metrics that a closed loop can measure and rules can use: those computed in JAX that have a kind."""
    return {name: metric for name, metric in METRICS.items() if metric.measure and metric.kind}


def check_metric(name: str) -> Metric:
    """Return the metric of that name. Raises ValueError, which lists the accepted names, for any other name."""
    if name not in (known := rule_metrics()):
        raise ValueError(f"metric: no {name!r}; choose among {', '.join(known)}.")
    return known[name]


def parse(text: str, fidelity: str, perception: str) -> Rule:
    """Parse a rule: `max|min METRIC|fidelity|perception [, lose <= X dB|%|METRIC]`.

    The arguments `fidelity` and `perception` name the metrics that these words stand for. `max perception` means the
    best value, even if less of the metric is better. A metric's own name takes `max` if more of it is better, else
    `min`. The loss is measured in the metric named after the number. With dB or %, it is measured in the metric of the
    kind that the rule does not seek.

    Raises ValueError, which says what to write instead, for any other text.
    """
    found = _GRAMMAR.fullmatch(text.strip())
    if not found:
        raise ValueError(f"rule: {text!r} is not understood; write for example 'max perception, lose <= 0.5 dB'.")
    direction, sought, number, unit = (group and group.lower() for group in found.groups())
    words = {"fidelity": fidelity, "perception": perception}
    metric = words.get(sought, sought)
    best = "max" if sought in words or check_metric(metric).more_is_better else "min"
    if direction != best:
        raise ValueError(f"rule: {text!r} seeks the worst; write '{best} {sought}'.")
    if number is None:
        return Rule(metric)
    other = fidelity if check_metric(metric).kind == "perception" else perception
    guard = other if unit in ("db", "%") else words.get(unit, unit)
    if unit == "db" and check_metric(guard).unit != "dB":
        raise ValueError(f"rule: {guard} is not measured in dB; write 'lose <= {number} {guard}' or a number with %.")
    check_metric(guard)
    return Rule(metric, guard, float(number) / (100 if unit == "%" else 1), unit == "%")


def pick(table: Table, rule: Rule, plain: int) -> int:
    """Return the index of the candidate that a rule picks. `plain` is the index of scale 0, which always qualifies.

    Candidates with numbers that are not finite are skipped. Among equals, the first that loses least is picked.
    Raises ValueError if the table lacks a metric, or if a number of the plain sampler is not finite.
    """
    names = [name for name in (rule.metric, rule.guard) if name is not None]
    if missing := [name for name in names if name not in table]:
        raise ValueError(f"rule: {missing[0]} was not measured; the table has {', '.join(table)}.")
    good = [_goodness(table, name) for name in names]  # the metric sought first, the guard last
    finite = np.all(np.isfinite(good), axis=0)
    if not finite[plain]:
        raise ValueError(f"rule: {' or '.join(names)} of the plain sampler is not finite; check the pairs.")
    lost = np.full_like(good[0], np.inf)
    lost[finite] = good[-1][plain] - good[-1][finite]
    budget = rule.budget * (abs(good[-1][plain]) if rule.relative else 1)
    allowed = finite & (lost <= (np.inf if rule.guard is None else budget))
    order = np.lexsort((lost, -good[0]))
    return int(order[allowed[order]][0])


def pareto_front(table: Table, fidelity: str, perception: str) -> list[int]:
    """List the candidates that no other beats in both metrics, from the most faithful to the one of best perception.

    Of candidates that are equal in both, only the first is listed. Candidates with numbers that are not finite are
    left out.
    """
    x, y = _goodness(table, fidelity), _goodness(table, perception)
    front, best = [], -np.inf
    for i in np.lexsort((-y, -x)):
        if np.isfinite(x[i]) and np.isfinite(y[i]) and y[i] > best:
            front.append(int(i))
            best = y[i]
    return front


def _goodness(table: Table, name: str) -> Float[np.ndarray, " k"]:
    """Return the metric, negated if less of it is better."""
    values = np.asarray(table[name], np.float64)
    return values if check_metric(name).more_is_better else -values
