"""Make small networks with random weights: no parameter is left at zero or one, so that every parameter matters."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxsr.models.layers import OneKey
from jaxsr.models.swin_unet import SwinUNetConfig

M = TypeVar("M", bound=nnx.Module)

# Tests run each program once or twice, so half the compile time is worth more than a fast program.
compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def unet_config(**changes: Any) -> SwinUNetConfig:
    """Return the smallest Swin-UNet that still shifts windows: one level, no block on the way down, windows of 2."""
    small = {
        "image_size": 16,
        "in_channels": 3,
        "out_channels": 3,
        "model_channels": 32,
        "channel_mult": (1,),
        "num_res_blocks": (0,),
        "attention_resolutions": (),
        "num_head_channels": 16,
        "swin_embed_dim": 32,
        "swin_depth": 2,
        "window_size": 2,
        "mlp_ratio": 2,
        "lq_size": 16,
    }
    return SwinUNetConfig(**small | changes)


def abstract(make: Callable[[nnx.Rngs], M]) -> M:
    """Return the module with shapes in place of arrays."""
    return nnx.eval_shape(lambda: make(OneKey()))


def random_values(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Return weights of about the size that initialisers give, scales about 1, biases about 0."""
    rng = np.random.default_rng(seed)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        fan_in = np.prod(shape[:-1]) if name.endswith("kernel") else 1
        spread = {"kernel": fan_in**-0.5, "scale": 0.2, "bias": 0.1}.get(name.rsplit(".", 1)[-1], 0.5)
        return (name.endswith("scale") + spread * rng.standard_normal(shape)).astype(np.float32)

    return {name: draw(name, shapes[name]) for name in sorted(shapes)}


def randomised(make: Callable[[nnx.Rngs], M], seed: int = 0) -> M:
    """Return the module with random weights; equal shapes and seed give equal weights."""
    graph, state = nnx.split(abstract(make))
    flat = {".".join(map(str, path)): (path, leaf) for path, leaf in nnx.to_flat_state(state)}
    values = random_values({name: leaf.get_value().shape for name, (_, leaf) in flat.items()}, seed)
    leaves = [(path, leaf.replace(jnp.asarray(values[name]))) for name, (path, leaf) in flat.items()]
    return nnx.merge(graph, nnx.from_flat_state(leaves))


def shapes_of(make: Callable[[nnx.Rngs], nnx.Module]) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every parameter."""
    state = nnx.state(abstract(make))
    return {".".join(map(str, path)): leaf.get_value().shape for path, leaf in nnx.to_flat_state(state)}


def correlate(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int = 1) -> np.ndarray:
    """Convolve an already padded NHWC array with an HWIO kernel in float64, as the oracle of the networks."""
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), kernel.shape[:2], (1, 2))
    return np.einsum("bhwiyx,yxio->bhwo", windows[:, ::stride, ::stride], kernel.astype(np.float64)) + bias


def numpy_group_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, groups: int, epsilon: float) -> np.ndarray:
    """Apply GroupNorm to an NHWC array in float64."""
    b, h, w, c = x.shape
    grouped = x.astype(np.float64).reshape(b, h, w, groups, c // groups)
    mean, variance = grouped.mean((1, 2, 4), keepdims=True), grouped.var((1, 2, 4), keepdims=True)
    return ((grouped - mean) / np.sqrt(variance + epsilon)).reshape(x.shape) * scale + bias


def products_of(jaxpr: Any) -> list[Any]:
    """Return the convolutions and matrix products of a program and of all programs that it calls."""
    found = [eqn for eqn in jaxpr.eqns if eqn.primitive.name in ("conv_general_dilated", "dot_general")]
    for eqn in jaxpr.eqns:
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "jaxpr")):
            found += products_of(inner.jaxpr) if hasattr(inner, "jaxpr") else []
    return found
