"""Test the shared layers and the Swin layer's parts against straightforward float64 NumPy."""

from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import erf

from jaxsr.models.layers import ChannelNorm, GroupNorm, Linear, conv3x3, timestep_embedding
from jaxsr.models.swin_layer import (
    Mlp,
    SwinBlock,
    WindowAttention,
    attention_mask,
    from_windows,
    relative_position_index,
    to_windows,
)
from jaxsr.models.swin_unet import Downsample
from tests.models.tiny import compiled, correlate, numpy_group_norm, randomised

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "swin_buffers.npz")
F32 = {"dtype": jnp.float32}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def array(param: nnx.Param) -> np.ndarray:
    return np.asarray(param.get_value())


# The variances lie around both epsilons in use (1e-6, 1e-5). The offset exposes a variance computed as E[x^2] - E[x]^2.
@pytest.mark.parametrize("epsilon", [1e-5, 1e-6])
@pytest.mark.parametrize(("spread", "offset"), [(1.0, 0.0), (3e-3, 0.0), (1e-4, 0.0), (0.1, 10.0)])
def test_group_norm(epsilon: float, spread: float, offset: float) -> None:
    x = spread * normal(2, 4, 3, 64) + np.float32(offset)
    norm = randomised(lambda rngs: GroupNorm(64, epsilon=epsilon, rngs=rngs))
    expected = numpy_group_norm(x, array(norm.scale), array(norm.bias), 32, epsilon)
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, atol=1e-4)


@pytest.mark.parametrize("sides", [(1, 1), (5, 7), (16, 16), (256, 256)])
def test_group_norm_of_other_sizes(sides: tuple[int, int]) -> None:
    x = 0.1 * normal(1, *sides, 64) + np.float32(10)
    norm = randomised(lambda rngs: GroupNorm(64, epsilon=1e-5, rngs=rngs))
    expected = numpy_group_norm(x, array(norm.scale), array(norm.bias), 32, 1e-5)
    np.testing.assert_allclose(compiled(norm)(jnp.asarray(x)), expected, atol=2e-4)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_linear_rounds_values_and_result_to_its_dtype(dtype) -> None:
    x = normal(12, 32)
    linear = randomised(lambda rngs: Linear(32, 8, rngs=rngs, dtype=dtype))
    rounded = [np.asarray(jnp.asarray(a, dtype), np.float64) for a in (x, array(linear.kernel))]
    expected = rounded[0] @ rounded[1] + array(linear.bias)
    out = linear(jnp.asarray(x))
    assert out.dtype == dtype
    tolerance = 2**-6 if dtype == jnp.bfloat16 else 1e-5
    np.testing.assert_allclose(np.asarray(out, np.float64), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-6])
@pytest.mark.parametrize(("spread", "offset"), [(1.0, 0.0), (3e-3, 0.0), (1e-4, 0.0), (0.1, 10.0)])
def test_channel_norm_normalises_each_position(epsilon: float, spread: float, offset: float) -> None:
    x = spread * normal(2, 4, 3, 64) + np.float32(offset)
    norm = randomised(lambda rngs: ChannelNorm(64, epsilon=epsilon, rngs=rngs))
    x64 = x.astype(np.float64)
    normed = (x64 - x64.mean(-1, keepdims=True)) / np.sqrt(x64.var(-1, keepdims=True) + epsilon)
    expected = normed * array(norm.scale) + array(norm.bias)
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, atol=1e-4)


@pytest.mark.parametrize("kind", [GroupNorm, ChannelNorm])
def test_norms_compute_in_float32_and_return_the_inputs_dtype(kind) -> None:
    x = jnp.asarray(0.1 * normal(1, 4, 4, 32) + 10, jnp.bfloat16)
    norm = randomised(lambda rngs: kind(32, epsilon=1e-5, rngs=rngs))
    out = norm(x)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_array_equal(out, norm(x.astype(jnp.float32)).astype(jnp.bfloat16))


@pytest.mark.parametrize("channels", [32, 160])
def test_timestep_embedding_is_the_sinusoid_with_cosines_first(channels: int) -> None:
    steps = np.arange(60)
    angles = steps[:, None] * np.exp(-np.log(10000) * np.arange(channels // 2) / (channels // 2))
    expected = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(timestep_embedding(jnp.asarray(steps), channels), expected, atol=1e-5)


def test_mlp_uses_the_exact_gelu() -> None:
    x = 2 * normal(1, 4, 4, 8)
    mlp = randomised(lambda rngs: Mlp(8, 24, rngs=rngs, **F32))
    hidden = x.astype(np.float64) @ array(mlp.fc1.kernel) + array(mlp.fc1.bias)
    gelus = {
        "exact": hidden * (1 + erf(hidden / np.sqrt(2))) / 2,
        "tanh": hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3))) / 2,
    }
    expected = {name: gelu @ array(mlp.fc2.kernel) + array(mlp.fc2.bias) for name, gelu in gelus.items()}
    np.testing.assert_allclose(compiled(mlp)(jnp.asarray(x)), expected["exact"], atol=5e-6)
    assert np.abs(expected["tanh"] - expected["exact"]).max() > 1e-4, "the test cannot tell the two apart"


@pytest.mark.parametrize("stride", [1, 2])
def test_conv3x3_pads_all_sides(stride: int) -> None:
    x = normal(2, 6, 4, 3)
    conv = randomised(lambda rngs: conv3x3(3, 5, stride=stride, rngs=rngs, **F32))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = correlate(padded, array(conv.kernel), array(conv.bias), stride)
    np.testing.assert_allclose(conv(jnp.asarray(x)), expected, atol=5e-6)


def test_unet_downsampling_pads_all_sides() -> None:
    x = normal(1, 6, 4, 3)
    down = randomised(lambda rngs: Downsample(3, 3, rngs=rngs, **F32))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = correlate(padded, array(down.op.kernel), array(down.op.bias), stride=2)
    np.testing.assert_allclose(down(jnp.asarray(x)), expected, atol=5e-6)


def test_windows_are_row_major() -> None:
    image = np.arange(6 * 4, dtype=np.float32).reshape(1, 6, 4, 1)
    windows = np.asarray(to_windows(jnp.asarray(image), 2))[0, :, :, 0]
    by_hand = [image[0, y : y + 2, x : x + 2].ravel() for y in (0, 2, 4) for x in (0, 2)]
    np.testing.assert_array_equal(windows, by_hand)


@pytest.mark.parametrize(("height", "width", "window"), [(8, 8, 8), (8, 24, 8), (12, 4, 4), (6, 10, 2)])
def test_from_windows_inverts_to_windows(height: int, width: int, window: int) -> None:
    x = jnp.asarray(normal(2, height, width, 3))
    np.testing.assert_array_equal(from_windows(to_windows(x, window), height, width, window), x)


def test_relative_position_index_equals_the_released_buffer() -> None:
    np.testing.assert_array_equal(relative_position_index(8), GOLDEN["relative_position_index"])


@pytest.mark.parametrize("window", [2, 4, 7])
def test_relative_position_index_names_each_offset_once(window: int) -> None:
    index = relative_position_index(window)
    y, x = np.divmod(np.arange(window**2), window)
    offsets = {}
    for i, j in np.ndindex(index.shape):
        offsets.setdefault(index[i, j], set()).add((y[i] - y[j], x[i] - x[j]))
    assert sorted(offsets) == list(range((2 * window - 1) ** 2))
    assert all(len(seen) == 1 for seen in offsets.values())


def test_released_mask_equals_the_released_buffer() -> None:
    np.testing.assert_array_equal(attention_mask(16, 16, 8, 4, "released"), GOLDEN["attn_mask"])
    assert (np.asarray(attention_mask(16, 16, 8, 4, "regions")) != GOLDEN["attn_mask"]).any()


@pytest.mark.parametrize(
    ("height", "width", "window", "shift"), [(8, 8, 8, 4), (16, 8, 8, 4), (16, 24, 8, 4), (8, 12, 4, 2), (9, 6, 3, 1)]
)
def test_regions_mask_lets_neighbours_attend_and_nothing_else(height: int, width: int, window: int, shift: int) -> None:
    """Two positions of a shifted window are neighbours where their offset in the image equals that in the window."""
    rows, columns = np.mgrid[:height, :width]

    def per_window(coordinate: np.ndarray, rolled: bool) -> np.ndarray:
        if rolled:
            coordinate = np.roll(coordinate, (-shift, -shift), (0, 1))
        tokens = coordinate.reshape(height // window, window, width // window, window).swapaxes(1, 2)
        tokens = tokens.reshape(-1, window**2)
        return tokens[:, :, None] - tokens[:, None, :]

    same = [per_window(c, rolled=True) == per_window(c, rolled=False) for c in (rows, columns)]
    expected = np.where(same[0] & same[1], 0, -100)
    assert -100 in expected
    np.testing.assert_array_equal(attention_mask(height, width, window, shift, "regions"), expected)


def test_window_attention_is_softmax_attention_with_a_bias_per_offset() -> None:
    heads, window, c = 2, 4, 8
    attention = randomised(lambda rngs: WindowAttention(c, heads, window, rngs=rngs, **F32))
    mask = attention_mask(8, 4, window, 2, "regions")
    tokens = normal(1, 2, window**2, c)
    qkv = tokens[0] @ array(attention.qkv.kernel).astype(np.float64) + array(attention.qkv.bias)
    table = array(attention.relative_position_bias_table)
    out = np.empty((2, window**2, c))
    for n, head in np.ndindex(2, heads):
        q, k, v = (qkv[n, :, i * c + head * c // heads :][:, : c // heads] for i in range(3))
        logits = q @ k.T / np.sqrt(c // heads) + table[relative_position_index(window), head] + mask[n]
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        out[n, :, head * c // heads :][:, : c // heads] = weights / weights.sum(-1, keepdims=True) @ v
    expected = out @ array(attention.proj.kernel) + array(attention.proj.bias)
    np.testing.assert_allclose(compiled(partial(attention, mask=mask))(jnp.asarray(tokens))[0], expected, atol=5e-6)
    assert np.isclose(mask, -100).any(), "a mask of zeros would show nothing"


@pytest.mark.parametrize(("window_mask", "leaks"), [("regions", False), ("released", True)])
def test_only_the_regions_mask_closes_the_border_that_the_roll_joins(window_mask, leaks: bool) -> None:
    kw = {"norm": "channel", "window_mask": window_mask, **F32}
    block = randomised(lambda rngs: SwinBlock(32, 2, 4, 2, 2.0, rngs=rngs, **kw))
    x = normal(1, 8, 12, 32).repeat(3, 0)
    x[1, 0, :, 0] += 1  # the roll puts this row in one window with the last row
    x[2, 6, :, 0] += 1  # this row shares a window with the last row anyway
    plain, far, near = np.asarray(compiled(block)(jnp.asarray(x)))[:, -1]
    assert np.abs(near - plain).max() > 1e-2
    assert (np.abs(far - plain).max() > 1e-2) == leaks
    assert leaks or (far == plain).all()
