"""The convolutions of AlexNet and VGG-16 as functions of flat parameters. LPIPS and DISTS compare their outputs.

Parameters keep torchvision's numbers: `features.<i>.kernel` (height, width, in, out) and `features.<i>.bias` (out).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsr.models.convolution import convolve
from jaxsr.models.pixel_codec import pixel_unshuffle

Params = Mapping[str, Array | np.ndarray]


@dataclass(frozen=True)
class Conv:
    """A convolution with a bias and a ReLU: its number, channels in and out, side of the kernel, stride and padding."""

    index: int
    inputs: int
    outputs: int
    side: int = 3
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True)
class Stage:
    """A group of convolutions. A pooling comes before it if `pooled` is true; the first stage of a network has none."""

    convs: tuple[Conv, ...]
    pooled: bool = True

    @property
    def channels(self) -> int:
        return self.convs[-1].outputs


@dataclass(frozen=True)
class FeatureNet:
    """A network up to its last convolution: its stages, its max pooling, and the least image side that it accepts."""

    stages: tuple[Stage, ...]
    pool_side: int
    pool_stride: int
    min_side: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every parameter."""
        convs = [conv for stage in self.stages for conv in stage.convs]
        kernels = {f"features.{c.index}.kernel": (c.side, c.side, c.inputs, c.outputs) for c in convs}
        return kernels | {f"features.{c.index}.bias": (c.outputs,) for c in convs}


ALEXNET = FeatureNet(
    stages=(
        Stage((Conv(0, 3, 64, 11, 4, 2),), pooled=False),
        Stage((Conv(3, 64, 192, 5, 1, 2),)),
        Stage((Conv(6, 192, 384),)),
        Stage((Conv(8, 384, 256),), pooled=False),
        Stage((Conv(10, 256, 256),), pooled=False),
    ),
    pool_side=3,
    pool_stride=2,
    min_side=31,
)
VGG16 = FeatureNet(
    stages=(
        Stage((Conv(0, 3, 64), Conv(2, 64, 64)), pooled=False),
        Stage((Conv(5, 64, 128), Conv(7, 128, 128))),
        Stage((Conv(10, 128, 256), Conv(12, 256, 256), Conv(14, 256, 256))),
        Stage((Conv(17, 256, 512), Conv(19, 512, 512), Conv(21, 512, 512))),
        Stage((Conv(24, 512, 512), Conv(26, 512, 512), Conv(28, 512, 512))),
    ),
    pool_side=2,
    pool_stride=2,
    min_side=16,
)


def stage_outputs(
    params: Params, x: Float[Array, "b h w 3"], net: FeatureNet, pool: Callable[[Array], Array] | None = None
) -> list[Array]:
    """Return the output of every stage after its last ReLU, NHWC, in the order of the stages.

    `x` is the normalised image. `pool` replaces the network's max pooling if given. Products are computed in full
    float32 even where the hardware would round them, so that a number does not depend on the machine.
    """
    outputs = []
    for stage in net.stages:
        if stage.pooled:
            x = pool(x) if pool else _max_pool(x, net.pool_side, net.pool_stride)
        for conv in stage.convs:
            x = _convolve(params, x, conv)
        outputs.append(x)
    return outputs


def check_images(a: Array, b: Array, min_side: int, metric: str) -> None:
    """Raise ValueError unless both batches are RGB, have one shape and are large enough for the network."""
    if a.shape != b.shape:
        raise ValueError(f"images of shapes {a.shape} and {b.shape} cannot be compared: crop them to one size")
    _, h, w, channels = a.shape
    if channels != 3:
        raise ValueError(f"{metric} needs RGB, but the images have {channels} channels: repeat a grey channel 3 times")
    if min(h, w) < min_side:
        raise ValueError(f"images of {h} x {w} pixels are too small: {metric} needs at least {min_side} pixels a side")


def check_shapes_of(params: Params, expected: Mapping[str, tuple[int, ...]], metric: str) -> None:
    """Raise ValueError unless `params` has exactly the names and shapes in `expected`."""
    shapes = {name: tuple(value.shape) for name, value in params.items()}
    if shapes != dict(expected):
        name = min(name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name))
        raise ValueError(
            f"these are not the parameters of {metric} ({name} is {shapes.get(name, 'missing')} instead of "
            f"{expected.get(name, 'nothing')}): read them with load_perceptual({metric!r})"
        )


def _convolve(params: Params, x: Array, conv: Conv) -> Array:
    kernel, bias = (jnp.asarray(params[f"features.{conv.index}.{part}"]) for part in ("kernel", "bias"))
    pads = (conv.padding, conv.padding), (conv.padding, conv.padding)
    out = convolve(x, kernel, padding=pads) if conv.stride == 1 else _strided(x, kernel, conv.stride, conv.padding)
    return jax.nn.relu(out + bias[None, None, None])


def _strided(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """Convolve with a stride as a convolution without one: blocks of stride x stride positions become channels.

    With it and `_max_pool`, LPIPS and its gradient take 0.85 of the time on an AMD CPU.
    """
    side, (height, width) = kernel.shape[0], ((n + 2 * padding - kernel.shape[0]) // stride + 1 for n in x.shape[1:3])
    taps = -(-side // stride)
    rows, columns = ((n + taps - 1) * stride for n in (height, width))
    ends = ((padding, max(rows - x.shape[1] - padding, 0)), (padding, max(columns - x.shape[2] - padding, 0)))
    padded = jnp.pad(x, ((0, 0), *ends, (0, 0)))[:, :rows, :columns]
    whole = jnp.pad(kernel, ((0, taps * stride - side),) * 2 + ((0, 0), (0, 0)))
    blocks = whole.reshape(taps, stride, taps, stride, -1, kernel.shape[3]).transpose(0, 2, 1, 3, 4, 5)
    folded = blocks.reshape(taps, taps, -1, kernel.shape[3])
    return convolve(pixel_unshuffle(padded, stride), folded, padding=((0, 0), (0, 0)))


def _max_pool(x: Array, side: int, stride: int) -> Array:
    """Take the maximum over windows, from shifted images; XLA's own maximum over windows has a slower gradient."""
    height, width = ((n - side) // stride + 1 for n in x.shape[1:3])
    shifted = (
        x[:, i : i + (height - 1) * stride + 1 : stride, j : j + (width - 1) * stride + 1 : stride]
        for i, j in product(range(side), repeat=2)
    )
    return reduce(jnp.maximum, shifted)
