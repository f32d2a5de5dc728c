"""The rules that map state-dict keys to parameters, as data, and their application as a checked bijection."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxsr.plain_data import listed
from jaxsr.torch_files.reader import Tensor


class ConversionError(ValueError):
    """A state dict that does not fit the network."""


@dataclass(frozen=True)
class KeyRule:
    """A rule: a tensor whose key matches `key` and whose shape fits `shape` becomes the parameter `name`.

    Attributes:
        key: regular expression that matches the whole key.
        shape: size of every axis; None for any size.
        name: name of the parameter, with references to groups of `key`.
        axes: axes of the tensor that the parameter keeps, in the order of the parameter. The other axes have size 1.
    """

    key: str
    shape: tuple[int | None, ...]
    name: str
    axes: tuple[int, ...]

    def target(self, key: str) -> str | None:
        """Return the name of the parameter, or None if the rule does not match the key."""
        match = re.fullmatch(self.key, key)
        return match.expand(self.name) if match else None

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether this rule accepts a tensor of `shape`."""
        return len(shape) == len(self.shape) and all(w in (None, n) for w, n in zip(self.shape, shape, strict=True))

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the parameter that a tensor of `shape` becomes."""
        return tuple(shape[axis] for axis in self.axes)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the parameter that a tensor becomes, as a view."""
        dropped = tuple(axis for axis in range(array.ndim) if axis not in self.axes)
        return array.transpose(*dropped, *self.axes).reshape(self.result_shape(array.shape))


@dataclass(frozen=True)
class Parameter:
    """The parameter that a rule makes of a tensor in a file. `np.asarray` reads its values.

    float64 becomes float32; other types do not change.
    """

    tensor: Tensor
    rule: KeyRule

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rule.result_shape(self.tensor.shape)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32) if self.tensor.dtype == np.float64 else self.tensor.dtype

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Return a contiguous copy, in `dtype` if given."""
        del copy
        return np.array(self.rule.apply(self.tensor.read()), dtype or self.dtype, order="C")


_NOT_CODES = r"(?!quantize\.embedding\.)"
RULES = (
    KeyRule(r"(.+)\.weight", (None, None, 3, 3), r"\1.kernel", (2, 3, 1, 0)),  # OIHW -> HWIO
    KeyRule(r"(.+)\.weight", (None, None, 1, 1), r"\1.kernel", (1, 0)),  # 1x1 convolutions are matrix products here
    KeyRule(_NOT_CODES + r"(.+)\.weight", (None, None), r"\1.kernel", (1, 0)),
    KeyRule(r"(quantize\.embedding)\.weight", (None, None), r"\1.embedding", (0, 1)),
    KeyRule(r"(.+)\.weight", (None,), r"\1.scale", (0,)),  # norms
    KeyRule(r"(.+\.bias)", (None,), r"\1", (0,)),
    KeyRule(r"(.+\.relative_position_bias_table)", (None, None), r"\1", (0, 1)),
)


@dataclass
class _Findings:
    """Everything that does not fit, by kind. All findings are reported at once."""

    groups: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, finding: str) -> None:
        self.groups.setdefault(kind, []).append(finding)

    def raise_if_any(self, source: str) -> None:
        if self.groups:
            text = "; ".join(f"{kind}: {listed(sorted(findings))}" for kind, findings in self.groups.items())
            raise ConversionError(f"{source}: does not fit the network ({text}); check that it is the right file.")


def convert(
    state: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    derived: Mapping[str, np.ndarray],
    *,
    source: str,
    rules: tuple[KeyRule, ...] = RULES,
) -> dict[str, Parameter]:
    """Convert a state dict to parameters. Every key is used once, and every parameter is written once.

    Args:
        state: tensors by key.
        shapes: name and shape of every parameter of the network.
        derived: buffers by key that the network computes itself. The state dict may hold them, with the same values.
        source: name of the file in messages.
        rules: rules that map keys to names.
    Returns:
        parameters by name. Their values are read when they are used, so that they need no memory.
    Raises:
        ConversionError: with one message that lists all keys that no rule or several rules match, all parameters that
            are written several times or never, all wrong shapes and types, all values that are not finite, and all
            buffers that differ from ours.
    """
    findings = _Findings()
    plan = _match({key: tensor for key, tensor in state.items() if key not in derived}, shapes, rules, findings)
    for key in state.keys() & derived.keys():
        _compare(key, state[key], derived[key], findings)
    findings.raise_if_any(source)
    for key, _ in plan.values():
        _check_values(key, state[key], findings)
    findings.raise_if_any(source)
    return {name: Parameter(state[key], rule) for name, (key, rule) in plan.items()}


def _match(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], rules: tuple[KeyRule, ...], findings: _Findings
) -> dict[str, tuple[str, KeyRule]]:
    """Find the key and the rule of every parameter, and add everything that is wrong with them to `findings`."""
    plan: dict[str, tuple[str, KeyRule]] = {}
    targets: Counter[str] = Counter()
    for key, tensor in state.items():
        named = [(name, rule) for rule in rules if (name := rule.target(key)) is not None]
        matches = [(name, rule) for name, rule in named if rule.fits(tensor.shape)]
        # A key whose shape no rule accepts still belongs to the parameter of its name, if there is one.
        name, rule = next(((n, r) for n, r in matches or named if n in shapes), (None, None))
        if len(matches) > 1:
            findings.add("matched by several rules", key)
        elif name is None or rule is None:
            findings.add("unmatched", f"{key} {list(tensor.shape)}")
        else:
            _check(key, tensor, rule, shapes[name], findings)
        if name is not None and rule is not None:
            targets[name] += 1
            plan[name] = key, rule
    for name, count in targets.items():
        if count > 1:
            findings.add("written several times", name)
    for name in shapes.keys() - targets.keys():
        findings.add("never written", name)
    return plan


def _check(key: str, tensor: Tensor, rule: KeyRule, shape: tuple[int, ...], findings: _Findings) -> None:
    if not rule.fits(tensor.shape) or rule.result_shape(tensor.shape) != shape:
        findings.add("wrongly shaped", f"{key} {list(tensor.shape)} for {list(shape)}")
    if tensor.dtype.kind not in "fV":  # V: the kind that NumPy gives bfloat16
        findings.add("not floating-point", f"{key} {tensor.dtype}")


def _compare(key: str, tensor: Tensor, ours: np.ndarray, findings: _Findings) -> None:
    if tensor.shape != ours.shape:
        findings.add("wrongly shaped", f"{key} {list(tensor.shape)} for {list(ours.shape)}")
    elif not np.array_equal(tensor.read().astype(ours.dtype), ours):
        findings.add("buffers with other values than ours", key)


def _check_values(key: str, tensor: Tensor, findings: _Findings) -> None:
    if not np.isfinite(tensor.read().astype(np.float32)).all():
        findings.add("not finite", key)
