"""Make the moments of random errors and corrections, with the same arrays in float64 as the oracle."""

import jax.numpy as jnp
import numpy as np

from jaxsr.guidance.fits import concatenate
from jaxsr.guidance.moments import Moments, moments

T, N, SHAPE = 3, 7, (4, 5, 3)
RANDOM = np.random.default_rng(0)
S = RANDOM.normal(0.2, 0.3, (T, N, *SHAPE)).astype(np.float32)
DELTA = (0.4 * S + RANDOM.normal(0.1, 0.2, S.shape) * RANDOM.uniform(0.2, 2, (T, N, 1, 1, 1))).astype(np.float32)


def measured(delta: np.ndarray, s: np.ndarray) -> Moments:
    """Return the moments of arrays (T, n, h, w, c), through the float32 of the device, in two batches."""
    rows = [moments(jnp.asarray(d), jnp.asarray(x), jnp.ones(d.shape)) for d, x in zip(delta, s, strict=True)]
    whole = [np.stack(field) for field in zip(*rows, strict=True)]
    return concatenate([Moments(*(f[:, :3] for f in whole)), Moments(*(f[:, 3:] for f in whole))])


MOMENTS = measured(DELTA, S)
DELTA64, S64 = (x.astype(np.float64).reshape(T, N, -1) for x in (DELTA, S))
