"""Arrays inside of `jax.shard_map`. Their types say over which axes of the mesh they vary.

JAX makes the operands of its own operations vary over the same axes, and the gradient of this conversion sums over the
devices. JAX does not do so for a `custom_vjp`, whose rule would return a varying gradient for an operand that does not
vary.
"""

import jax


def vary_alike(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Make each array vary over all mesh axes over which any of them varies. Does nothing outside of `shard_map`."""
    own = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    missing = (sorted(frozenset().union(*own) - axes) for axes in own)  # sorted: all processes build one program
    return tuple(jax.lax.pcast(x, tuple(axes), to="varying") for x, axes in zip(arrays, missing, strict=True))
