"""Diagonal Gaussians: the Kullback-Leibler divergence, written once."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Values = Float[Array, "..."]


def gaussian_kl(mean: Values, variance: Values, other_mean: Values, other_variance: Values) -> Float[Array, ""]:
    """D_KL( N(mean, variance) || N(other_mean, other_variance) ) of diagonal Gaussians in nats, over all elements.

    sum of (log(s'/s) + (s + (m - m')^2)/s' - 1) / 2 with means m, m' and variances s, s'. The arguments broadcast
    against each other; scalars are variances of every element. Variances must be positive.
    """
    mean, variance, other_mean, other_variance = jnp.broadcast_arrays(mean, variance, other_mean, other_variance)
    distance = (variance + jnp.square(mean - other_mean)) / other_variance
    return jnp.sum(jnp.log(other_variance / variance) + distance - 1) / 2
