"""Scores pairs of equal size by the native metrics, in one compiled call per batch."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsr.choices import Batch
from jaxsr.evaluation.images import Pair
from jaxsr.evaluation.metrics import conditions
from jaxsr.evaluation.protocols import Protocol
from jaxsr.metrics.catalogue import METRICS
from jaxsr.metrics.perceptual_files import load_perceptual
from jaxsr.runtime.compilation import compiler_options
from jaxsr.runtime.device_memory import fitting, program_bytes

Scores = dict[str, float | None]
"""Name of a metric -> its number for one image, or None without a number."""
AUTO = 8
"""Most pairs per call for the batch `auto`, and images read at a time."""
MEGAPIXELS = 4.0
"""The largest size of a batch. A larger batch is no faster and takes more memory."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """A scorer of pairs by some metrics under a protocol. It keeps its compiled programs and the networks it has read.

    Attributes:
        metrics: names of native metrics.
        protocol: the protocol under which they are measured.
        batch: pairs per call, or `auto`, as many as the memory holds; it changes only speed and memory.
    """

    metrics: tuple[str, ...]
    protocol: Protocol
    batch: Batch = 8
    reasons: dict[str, str] = field(default_factory=dict)
    """For each metric, the first reason why it could not be computed for an image."""
    _programs: dict[Any, tuple[jax.stages.Wrapped, tuple[str, ...]]] = field(default_factory=dict)
    keeps_features: bool = False
    """Whether the features of the last original are kept, for further results of the same image."""
    _networks: dict[str, Any] = field(default_factory=dict)
    _kept: dict[Any, Any] = field(default_factory=dict)

    def score(self, pairs: Sequence[Pair]) -> list[Scores]:
        """Score the pairs: one row per pair, in order. Every pair must have its result.

        A metric is None if the image is too small for it, or if its value is not finite; see `reasons`.
        """
        rows: dict[int, Scores] = {}
        for places in _batches(pairs, self._most):
            rows |= zip(places, self._score_equal([pairs[i] for i in places]), strict=True)
        return [rows[i] for i in range(len(pairs))]

    def _most(self, pair: Pair) -> int:
        """Return the number of pairs per call. For `auto`, the compiler says what one pair needs."""
        if self.batch != "auto":
            return self.batch
        arrays = tuple(_stack([image]) for image in (pair.sr, pair.hr, pair.lr))
        program, names = self._program(arrays, pair.grey, keeps=False)
        key = ("bytes", pair.grey, *(None if x is None else (x.shape, x.dtype) for x in arrays))
        if key not in self._kept:
            compiled = program.lower(self._read(names), {}, *arrays).compile()
            networks = sum(value.nbytes for value in jax.tree.leaves(self._read(names)))
            self._kept[key] = program_bytes(compiled) - networks
        return fitting(AUTO, self._kept[key])

    def _score_equal(self, pairs: Sequence[Pair]) -> list[Scores]:
        """Score pairs of one size."""
        arrays = tuple(_stack([getattr(pair, name) for pair in pairs]) for name in ("sr", "hr", "lr"))
        original = arrays[1] if self.keeps_features and len(pairs) == 1 else None
        program, names = self._program(arrays, pairs[0].grey, keeps=original is not None)
        features = {} if original is None else self._features(names, original, pairs[0].grey)
        found = program(self._read(names), features, *arrays)
        values = {name: np.asarray(column, np.float64) for name, column in found.items()}
        rows: list[Scores] = []
        for index, pair in enumerate(pairs):
            row: Scores = dict.fromkeys(self.metrics)
            row |= {name: float(values[name][index]) for name in names if np.isfinite(values[name][index])}
            for name in names:
                if row[name] is None:
                    self.reasons.setdefault(name, f"{pair.image}: {values[name][index]}")
            rows.append(row)
        return rows

    def _features(self, names: Sequence[str], hr: np.ndarray, grey: bool) -> dict[str, Any]:
        """Return the features of an original for the metrics that compare features. Those of one original are kept."""
        content = hashlib.sha256(hr.tobytes()).hexdigest(), hr.shape, hr.dtype, grey, tuple(names)
        if self._kept.get("content") != content:
            key = ("features", grey, hr.shape, hr.dtype)
            if key not in self._programs:

                def compute(networks: Any, images: Any) -> dict[str, Any]:
                    found = {}
                    for name in names:
                        if make := METRICS[name].features:
                            given = conditions(self.protocol, name, grey=grey, network=networks[name])
                            found[name] = make(_unit(images), given)
                    return found

                self._programs[key] = jax.jit(compute, compiler_options=compiler_options()), tuple(names)
            self._kept.update(content=content, features=self._programs[key][0](self._read(names), hr))
        return self._kept["features"]

    def _program(
        self, arrays: tuple[Any, ...], grey: bool, *, keeps: bool
    ) -> tuple[jax.stages.Wrapped, tuple[str, ...]]:
        """Return the compiled function for these shapes, and the metrics that accept them."""
        key = (grey, keeps, *(None if x is None else (x.shape, x.dtype) for x in arrays))
        if key not in self._programs:
            shapes = tuple(None if x is None else jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays)
            names = tuple(name for name in self.metrics if self._takes(name, shapes, grey))
            measure = jax.jit(self._measure(names, grey), compiler_options=compiler_options())
            self._programs[key] = measure, names
        return self._programs[key]

    def _takes(self, name: str, shapes: tuple[Any, ...], grey: bool) -> bool:
        """Return whether the metric can be computed for images of these shapes. If not, `reasons` records why."""
        try:
            jax.eval_shape(self._measure((name,), grey), self._read((name,)), {}, *shapes)
        except ValueError as error:
            self.reasons.setdefault(name, str(error))
            return False
        return True

    def _read(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the network parameters of each metric, on the device, read once; {} for a metric without a network."""
        for name in names:
            if name not in self._networks:
                weights = METRICS[name].weights(conditions(self.protocol, name))
                self._networks[name] = jax.device_put(load_perceptual(weights)) if weights else {}
        return {name: self._networks[name] for name in names}

    def _measure(self, names: Sequence[str], grey: bool) -> Callable[..., dict[str, Array]]:
        """Make the function (networks, features of the originals, results, originals, LR images) -> numbers.

        The networks are arguments, because a network as a constant would take long to compile. Features may lack.
        """

        def measure(networks: Any, features: dict[str, Any], *images: Any) -> dict[str, Array]:
            sr, hr, lr = (None if x is None else _unit(x) for x in images)
            numbers = {}
            for name in names:
                function, compare = METRICS[name].measure, METRICS[name].compare
                assert function is not None
                assert sr is not None
                given = conditions(self.protocol, name, grey=grey, network=networks[name])
                if compare and name in features:
                    numbers[name] = compare(sr, features[name], given)
                else:
                    numbers[name] = function(sr, hr, lr, given)
            return numbers

        return measure


def _unit(images: Array) -> Array:
    """Convert pixels to float32 in [0, 1]."""
    return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images


def _stack(images: Sequence[np.ndarray | None]) -> np.ndarray | None:
    present = [image for image in images if image is not None]
    return np.stack(present) if present else None


def _batches(pairs: Sequence[Pair], most: Callable[[Pair], int]) -> Iterator[list[int]]:
    """Yield the places of pairs of one size and kind, as many at once as `most` and MEGAPIXELS allow."""
    groups: dict[Any, list[int]] = {}
    for i, pair in enumerate(pairs):
        shapes = tuple(x if x is None else x.shape for x in (pair.sr, pair.hr, pair.lr))
        groups.setdefault((shapes, pair.grey), []).append(i)
    for (shapes, _), places in groups.items():
        size = max(1, min(most(pairs[places[0]]), int(MEGAPIXELS * 1e6 / (shapes[0][0] * shapes[0][1]))))
        for start in range(0, len(places), size):
            yield places[start : start + size]
