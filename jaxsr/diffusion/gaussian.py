"""The Kullback-Leibler divergence of diagonal Gaussians. All other modules use this definition."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Values = Float[Array, "..."]


def gaussian_kl(mean: Values, variance: Values, other_mean: Values, other_variance: Values) -> Float[Array, ""]:
    """Compute D_KL( N(mean, variance) || N(other_mean, other_variance) ) of diagonal Gaussians, in nats.

    It is the sum over all elements of (log(s'/s) + (s + (m - m')^2)/s' - 1) / 2, with means m, m' and variances s, s'.
    The arguments broadcast against each other; a scalar variance applies to every element. Variances must be positive.
    """
    mean, variance, other_mean, other_variance = jnp.broadcast_arrays(mean, variance, other_mean, other_variance)
    distance = (variance + jnp.square(mean - other_mean)) / other_variance
    return jnp.sum(jnp.log(other_variance / variance) + distance - 1) / 2
