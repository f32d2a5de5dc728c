"""Test the Swin-UNet: its block against NumPy, its reach, the inputs it accepts, and the effect of every option."""

import dataclasses
import re
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import expit

from jaxsr.models.swin_unet import ResBlock, SwinUNet, SwinUNetConfig
from tests.models.tiny import abstract, compiled, correlate, numpy_group_norm, randomised, shapes_of, unet_config

LOCAL = {"norm": "channel", "window_mask": "regions"}
BF16_BOUND = 0.03  # root mean square error over the output's spread; 0.012 measured


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def silu(x: np.ndarray) -> np.ndarray:
    return x * expit(x)


def make(config: SwinUNetConfig, dtype=jnp.float32):
    return lambda rngs: SwinUNet(config, rngs=rngs, dtype=dtype)


def inputs() -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return x, times and the LR image of a batch; all tests share one size, so that each network is compiled once."""
    return jnp.asarray(normal(4, 24, 40, 3)), jnp.arange(4), jnp.asarray(normal(4, 24, 40, 3, seed=1))


@cache
def network(dtype=jnp.float32, **changes: Any):
    """Return the compiled forward pass; networks of equal shapes have equal weights."""
    return compiled(randomised(make(unet_config(**changes), dtype)))


def output_shape(config: SwinUNetConfig, x: tuple[int, ...], lq: tuple[int, ...], mask: tuple[int, ...] | None = None):
    """Return the shape and dtype of the output, by tracing alone."""
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) if shape else None for shape in (x, lq, mask)]
    graph, state = nnx.split(abstract(make(config)))

    def call(state, x, lq, mask):
        return nnx.merge(graph, state)(x, jnp.zeros(x.shape[0], jnp.int32), lq, mask)

    return jax.eval_shape(call, state, *arrays)


def test_residual_block_scales_and_shifts_its_second_norm() -> None:
    x, emb = 1e-3 * normal(2, 4, 6, 32), normal(2, 8, seed=1)  # a variance below epsilon
    block = randomised(lambda rngs: ResBlock(32, 64, 8, norm="group", rngs=rngs, dtype=jnp.float32))
    p = {".".join(map(str, k)): np.asarray(v.get_value()) for k, v in nnx.to_flat_state(nnx.state(block))}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return numpy_group_norm(x, p[f"{name}.scale"], p[f"{name}.bias"], 32, 1e-5)

    def conv(x: np.ndarray, name: str) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return correlate(padded, p[f"{name}.kernel"], p[f"{name}.bias"])

    h = conv(silu(norm(x, "in_layers.0")), "in_layers.2")
    scale_shift = silu(emb.astype(np.float64)) @ p["emb_layers.1.kernel"] + p["emb_layers.1.bias"]
    scale, shift = scale_shift[:, None, None, :64], scale_shift[:, None, None, 64:]
    h = conv(silu(norm(h, "out_layers.0") * (1 + scale) + shift), "out_layers.3")
    expected = h + x @ p["skip_connection.kernel"] + p["skip_connection.bias"]
    np.testing.assert_allclose(compiled(block)(jnp.asarray(x), jnp.asarray(emb)), expected, atol=1e-4)


def test_feature_extractor_is_a_convolution_and_a_halving_of_doubled_width_each_time() -> None:
    net = randomised(make(unet_config(lq_size=64)))
    lq = normal(1, 16, 32, 3)
    expected = lq
    for index in ("0", "2", "3", "5"):
        conv, stride = (net.feature_extractor[index], 1) if index in "03" else (net.feature_extractor[index].op, 2)
        padded = np.pad(expected, ((0, 0), (1, 1), (1, 1), (0, 0)))
        expected = correlate(padded, np.asarray(conv.kernel[...]), np.asarray(conv.bias[...]), stride)
        expected = silu(expected) if stride == 1 else expected
    assert expected.shape == (1, 4, 8, 64)
    np.testing.assert_allclose(compiled(net.features)(jnp.asarray(lq)), expected, atol=1e-5)


@pytest.mark.parametrize("halvings", [0, 2, 3])
@pytest.mark.parametrize("cond_mask", [False, True])
def test_lr_image_may_be_larger_than_the_latent(halvings: int, cond_mask: bool) -> None:
    config = unet_config(lq_size=16 << halvings, cond_mask=cond_mask)
    lq = (2, 8 << halvings, 12 << halvings, 3)
    out = output_shape(config, (2, 8, 12, 3), lq, (*lq[:3], 1) if cond_mask else None)
    assert config.halvings == halvings
    assert (out.shape, out.dtype) == ((2, 8, 12, 3), jnp.float32)


@pytest.mark.parametrize("size", [(4, 4), (4, 12), (20, 8)])
def test_any_size_of_whole_windows_is_accepted(size: tuple[int, int]) -> None:
    config = unet_config(channel_mult=(1, 2), num_res_blocks=(1, 1), attention_resolutions=(16,), out_channels=5)
    assert config.align == 4
    assert output_shape(config, (1, *size, 3), (1, *size, 3)).shape == (1, *size, 5)


@pytest.mark.parametrize(
    ("changes", "x", "lq", "mask", "message"),
    [
        ({}, (1, 5, 8, 3), (1, 5, 8, 3), None, "multiples of 2"),
        ({}, (1, 8, 9, 3), (1, 8, 9, 3), None, "multiples of 2"),
        ({"window_size": 8}, (1, 8, 12, 3), (1, 8, 12, 3), None, "multiples of 8"),
        ({"channel_mult": (1, 1), "num_res_blocks": (1, 1)}, (1, 6, 8, 3), (1, 6, 8, 3), None, "multiples of 4"),
        ({}, (1, 8, 8, 3), (1, 8, 16, 3), None, "lq must be 1 times"),
        ({"lq_size": 64}, (1, 8, 8, 3), (1, 8, 8, 3), None, "lq must be 4 times"),
        ({}, (1, 8, 8, 3), (1, 8, 8, 3), (1, 8, 8, 1), "takes no mask"),
        ({"cond_mask": True}, (1, 8, 8, 3), (1, 8, 8, 3), None, "needs a mask"),
    ],
)
def test_input_that_does_not_fit_is_refused(changes, x, lq, mask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        output_shape(unet_config(**changes), x, lq, mask)


RESHAPING = {
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,
    "channel_mult": (2,),
    "num_res_blocks": (1,),
    "attention_resolutions": (16,),
    "num_head_channels": 32,
    "swin_embed_dim": 64,
    "swin_depth": 1,
    "window_size": 4,
    "mlp_ratio": 4,
    "lq_size": 32,
    "lq_channels": 4,
    "cond_mask": True,
}
RECOMPUTING = {"image_size": {"image_size": 2, "lq_size": 2}, "norm": {"norm": "channel"}}
RECOMPUTING |= {"window_mask": {"window_mask": "regions"}}


def test_every_field_of_the_configuration_is_tried_below() -> None:
    assert RESHAPING.keys() | RECOMPUTING.keys() == {field.name for field in dataclasses.fields(SwinUNetConfig)}


@cache
def base_shapes() -> dict[str, tuple[int, ...]]:
    return shapes_of(make(unet_config()))


@pytest.mark.parametrize("field", RESHAPING)
def test_field_changes_the_parameters(field: str) -> None:
    assert shapes_of(make(unet_config(**{field: RESHAPING[field]}))) != base_shapes()


@pytest.mark.parametrize("field", RECOMPUTING)
def test_field_changes_the_output_of_the_same_parameters(field: str) -> None:
    assert shapes_of(make(unet_config(**RECOMPUTING[field]))) == base_shapes()
    difference = network(**RECOMPUTING[field])(*inputs()) - network()(*inputs())
    assert jnp.abs(difference).max() > 1e-2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_res_blocks": (1, 1)}, "one entry per level"),
        ({"swin_embed_dim": 64, "num_head_channels": 48}, "multiple of num_head_channels"),
        ({"attention_resolutions": (16, 8)}, "must be among [16]"),
        ({"model_channels": 48}, "multiples of 32"),
        ({"swin_embed_dim": 48}, "multiples of 32"),
        ({"model_channels": 33, "norm": "channel"}, "multiples of 2"),
        ({"lq_size": 24}, "lq_size must be image_size"),
        ({"lq_size": 48}, "lq_size must be image_size"),
        ({"lq_size": 8}, "lq_size must be image_size"),
    ],
)
def test_configuration_that_does_not_fit_is_refused(changes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        unet_config(**changes)


@pytest.mark.parametrize(("field", "message"), [("norm", "('group', 'channel')"), ("window_mask", "or 'regions'")])
def test_unknown_names_are_refused(field: str, message: str) -> None:
    config = unet_config()
    object.__setattr__(config, field, "none")  # bypasses the type checks, which only these tests have
    with pytest.raises(ValueError, match=re.escape(message)):
        config.__post_init__()


def test_time_lr_image_and_noise_all_reach_the_output() -> None:
    x, t, lq = (np.asarray(array)[:1].repeat(4, 0) for array in inputs())
    x[1], t[2], lq[3] = x[1] + 0.1, 3, lq[3] + 0.1
    plain, *changed = np.asarray(network()(jnp.asarray(x), jnp.asarray(t), jnp.asarray(lq)))
    assert all(np.abs(out - plain).max() > 1e-2 for out in changed)


def test_mask_reaches_the_output() -> None:
    x, t, lq = (array[:1].repeat(2, 0) for array in inputs())
    mask = np.full((2, 24, 40, 1), -1, np.float32)
    mask[1, 2:4, 2:4] = 1
    empty, hole = np.asarray(network(cond_mask=True)(x, t, lq, jnp.asarray(mask)))
    assert np.abs(hole - empty).max() > 1e-2


def test_bfloat16_computes_nearly_the_same_from_the_same_float32_parameters() -> None:
    expected, out = network()(*inputs()), network(jnp.bfloat16)(*inputs())
    state = nnx.state(abstract(make(unet_config(), jnp.bfloat16)))
    assert {leaf.get_value().dtype for _, leaf in nnx.to_flat_state(state)} == {jnp.dtype(jnp.float32)}
    assert out.dtype == jnp.float32
    error = jnp.sqrt(jnp.square(out - expected).mean()) / expected.std()
    assert 1e-4 < error < BF16_BOUND, "equal to float32 would mean that dtype is ignored"


# The reach of an output pixel of the network below: three residual blocks of two 3x3 convolutions, one convolution
# before and one after them, and two blocks with windows of 2.
REACH = 3 * 2 + 2 + 2


def far_and_near(**changes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Change the input's first pixel; return the output's change at the opposite borders and near that pixel."""
    x, t, lq = inputs()
    x = np.array(x[:1].repeat(4, 0))
    x[1, 0, 0] += 1
    plain, changed, *_ = np.asarray(network(**changes)(jnp.asarray(x), 0 * t, lq[:1].repeat(4, 0)))
    change = np.abs(changed - plain).max(-1)
    return np.concatenate([change[-4:].ravel(), change[:, -4:].ravel()]), change[:4, :4]


def test_nothing_crosses_the_border_of_a_local_network() -> None:
    far, near = far_and_near(**LOCAL)
    assert near.max() > 1e-2
    assert far.max() == 0


@pytest.mark.parametrize("changes", [{"norm": "channel"}, {"window_mask": "regions"}], ids=["released mask", "group"])
def test_the_released_mask_and_group_norm_each_look_across_the_image(changes: dict[str, str]) -> None:
    assert far_and_near(**changes)[0].max() > 1e-5


@pytest.mark.parametrize("norm", ["channel", "group"])
def test_overlapping_tiles_agree_only_without_group_norm(norm: str) -> None:
    """Two tiles of 40 columns start 8 columns apart: the middle of their overlap sees neither tile's border."""
    image, lq = normal(2, 24, 48, 3), normal(2, 24, 48, 3, seed=1)
    tiles = (jnp.asarray(np.concatenate([a[:, :, :40], a[:, :, 8:]])) for a in (image, lq))
    x, lq = tiles
    out = np.asarray(network(norm=norm, window_mask="regions")(x, jnp.zeros(4, jnp.int32), lq))
    difference = np.abs(out[:2, :, 8:] - out[2:, :, :-8]).max((0, 1, 3))
    assert difference.shape == (32,)
    assert min(difference[0], difference[-1]) > 1e-3, "the cut changes what is near it"
    assert (difference[REACH:-REACH].max() < 1e-5) == (norm == "channel")
