"""Test `Model`: pure functions of a flat dict of parameters, for a pixel codec and for a VQ codec."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.diffusion import thin
from jaxsr.imaging.resize import upsample_bicubic
from jaxsr.models.model import Model
from jaxsr.models.pixel_codec import pixel_unshuffle
from jaxsr.models.presets import ModelPreset, PixelCodecConfig, ScheduleConfig
from jaxsr.models.vq_autoencoder import VQConfig
from jaxsr.runtime import cpu
from tests.models.tiny import compiled, products_of, random_values, unet_config
from tests.small_model import small_preset

VQ = VQConfig(embed_dim=3, n_embed=16, z_channels=3, ch=32, ch_mult=(1, 1), num_res_blocks=(0, 0))


def preset(**changes: Any) -> ModelPreset:
    """Return a preset with pixel-unshuffle by 2, enlargement by 2 and latents at LR size."""
    small = {
        "name": "small",
        "scale": 2,
        "network": unet_config(in_channels=12, out_channels=12),
        "codec": PixelCodecConfig(2),
        "schedule": ScheduleConfig(steps=60, min_noise_level=0.04),
        "steps": 4,
        "prediction": "residual",
    }
    return ModelPreset(**small | changes)


def vq_preset(**changes: Any) -> ModelPreset:
    return preset(network=unet_config(), codec=VQ, prediction="x0", **changes)


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@cache
def random_parameters(model: Model, spread: float = 1.0) -> dict[str, jax.Array]:
    return {name: spread * jnp.asarray(value) for name, value in random_values(model.shapes()).items()}


@cache
def initialise():
    return compiled(Model(preset()).init)


@cache
def fresh_parameters() -> dict[str, jax.Array]:
    return initialise()(jax.random.key(0))


def test_fresh_parameters_have_the_shapes_that_were_promised() -> None:
    model = Model(preset())
    assert {name: value.shape for name, value in fresh_parameters().items()} == model.shapes()
    assert {value.dtype for value in fresh_parameters().values()} == {jnp.dtype(jnp.float32)}


def test_only_the_last_convolution_of_each_branch_starts_at_zero() -> None:
    zero = {name for name, value in fresh_parameters().items() if name.endswith("kernel") and not value.any()}
    branches = {name for name in fresh_parameters() if name.endswith("out_layers.3.kernel")}
    assert zero == branches | {"network.out.2.kernel"}


def test_fresh_parameters_come_from_the_key() -> None:
    names = ("network.input_blocks.0.0.kernel", "network.middle_block.1.blocks.0.attn.relative_position_bias_table")
    other = initialise()(jax.random.key(1))
    for name in names:
        assert not jnp.allclose(fresh_parameters()[name], other[name])
    kernels = [v for k, v in fresh_parameters().items() if k.endswith("middle_block.0.in_layers.2.kernel")]
    kernels += [v for k, v in fresh_parameters().items() if k.endswith("middle_block.2.in_layers.2.kernel")]
    assert not jnp.allclose(*kernels), "layers of one shape must not start equal"


def test_codec_parameters_are_named_beside_the_network_s() -> None:
    model = Model(vq_preset())
    parts = {name.split(".")[0] for name in model.shapes()}
    assert parts == {"network", "codec"}
    assert model.shapes()["codec.quantize.embedding.embedding"] == (16, 3)
    assert {name.split(".")[0] for name in Model(preset()).shapes()} == {"network"}


def test_parameters_are_float32_whatever_the_compute_dtype() -> None:
    model = Model(preset(), dtype=jnp.bfloat16)
    assert model.shapes() == Model(preset()).shapes()
    fresh = jax.eval_shape(model.init, jax.random.key(0))
    assert {value.dtype for value in fresh.values()} == {jnp.dtype(jnp.float32)}


@pytest.mark.usefixtures("way")
def test_rounded_parameters_give_what_rounding_in_each_call_gives() -> None:
    model = Model(preset(), dtype=jnp.bfloat16)
    params = jax.tree.map(jnp.asarray, random_values(model.shapes()))
    rounded = model.rounded(params)
    kernels = {name for name, value in rounded.items() if value.dtype == jnp.bfloat16}
    wanted = jax.default_backend() != "cpu" or cpu.fast_bfloat16()
    assert kernels == {name for name in params if name.endswith(".kernel") and wanted}
    x, lr, t = normal(1, 8, 8, 12), normal(1, 8, 8, 3, seed=1), jnp.zeros(1, jnp.int32)
    predict = compiled(lambda params: model.predict(params, x, jnp.float32(1), t, x, lr))
    np.testing.assert_array_equal(predict(rounded), predict(params))
    full = Model(preset()).rounded(params)
    assert all(full[name] is value for name, value in params.items())


@pytest.mark.parametrize("way", ["xla"], indirect=True)
@pytest.mark.usefixtures("way")
def test_float32_is_meant_in_gradients_too() -> None:
    model = Model(preset())
    x, lr, t = jnp.zeros((1, 8, 8, 12)), jnp.zeros((1, 8, 8, 3)), jnp.zeros(1, jnp.int32)
    params = {name: jnp.zeros(shape) for name, shape in model.shapes().items()}
    loss = lambda params, x: model.predict(params, x, jnp.float32(1), t, x, lr).sum()  # noqa: E731
    found = products_of(jax.make_jaxpr(jax.grad(loss, (0, 1)))(params, x).jaxpr)
    assert len(found) > 20
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert [eqn for eqn in found if eqn.params["precision"] != highest] == []


def test_pixel_codec_needs_no_parameters() -> None:
    model, image = Model(preset()), normal(2, 8, 12, 3)
    np.testing.assert_array_equal(model.encode({}, image), pixel_unshuffle(image, 2))
    np.testing.assert_array_equal(model.decode({}, model.encode({}, image)), image)


@pytest.mark.parametrize("scale", [1, 2])
def test_z_lr_is_the_encoded_bicubic_enlargement(scale: int) -> None:
    model, lr = Model(preset(scale=scale)), normal(2, 8, 12, 3)
    enlarged = upsample_bicubic(lr, 2) if scale == 2 else lr
    np.testing.assert_array_equal(model.encode_lr({}, lr), pixel_unshuffle(enlarged, 2))


def test_vq_codec_uses_its_parameters() -> None:
    """Encoding depends only on the encoder's weights; decoding snaps to codes, so small changes of z have no effect."""
    model = Model(vq_preset())
    encode_lr, decode = compiled(model.encode_lr), compiled(model.decode)
    params, lr = random_parameters(model), normal(1, 4, 6, 3)
    z = encode_lr(params, lr)
    assert z.shape == (1, 4, 6, 3)
    table = np.asarray(params["codec.quantize.embedding.embedding"])
    codes = jnp.asarray(table[np.random.default_rng(0).integers(16, size=(1, 4, 6))])
    image = decode(params, codes)
    assert image.shape == (1, 8, 12, 3)
    np.testing.assert_array_equal(decode(params, codes + 1e-4), image)
    changed = params | {"codec.encoder.conv_in.kernel": 2 * params["codec.encoder.conv_in.kernel"]}
    assert jnp.abs(encode_lr(changed, lr) - z).max() > 1e-2
    np.testing.assert_array_equal(decode(changed, codes), image)


def test_missing_parameter_is_named() -> None:
    params = dict(fresh_parameters())
    del params["network.out.2.bias"]
    x, z = normal(1, 4, 4, 3), normal(1, 4, 4, 12)
    with pytest.raises(KeyError, match=r"network\.out\.2\.bias"):
        Model(preset()).predict(params, z, jnp.float32(1), jnp.zeros(1, jnp.int32), z, x)


@cache
def predict(kind: str):
    """Return the compiled prediction; both kinds have the same parameters."""
    return compiled(Model(preset(prediction=kind)).predict)


def arguments() -> tuple[jax.Array, ...]:
    """Return x_t, input scale, times, z_lr and the LR image."""
    lr, times = normal(2, 8, 12, 3, seed=2) / 3, jnp.array([0, 7], jnp.int32)
    return normal(2, 8, 12, 12), jnp.array([0.5, 0.25]), times, Model(preset()).encode_lr({}, lr), lr


def test_fresh_residual_network_predicts_z_lr_exactly() -> None:
    z_lr = arguments()[3]
    np.testing.assert_array_equal(predict("residual")(fresh_parameters(), *arguments()), z_lr)
    np.testing.assert_array_equal(predict("x0")(fresh_parameters(), *arguments()), jnp.zeros_like(z_lr))


def test_residual_prediction_adds_z_lr() -> None:
    params = random_parameters(Model(preset()))
    residual, x0 = (predict(kind)(params, *arguments()) for kind in ("residual", "x0"))
    assert residual.shape == x0.shape == (2, 8, 12, 12)
    assert jnp.abs(x0).max() > 1e-2
    np.testing.assert_allclose(residual, x0 + arguments()[3], atol=1e-5)


def test_input_scale_multiplies_x_t_image_by_image() -> None:
    params = random_parameters(Model(preset()))
    x_t, scale, *rest = arguments()
    expected = predict("x0")(params, x_t * scale[:, None, None, None], jnp.ones(2), *rest)
    np.testing.assert_allclose(predict("x0")(params, x_t, scale, *rest), expected, atol=1e-5)
    assert jnp.abs(predict("x0")(params, x_t, jnp.ones(2), *rest) - expected).max() > 1e-2


@pytest.mark.parametrize("step", [0, 2, 3])
def test_denoiser_tells_the_network_the_time_and_scale_of_the_thinned_schedule(step: int) -> None:
    model = Model(preset())
    params = random_parameters(model, spread=0.7)
    x_t, _, _, z_lr, lr = arguments()
    base = model.preset.schedule.build()
    row = (0, 20, 39, 59)[step]  # of 60, thinned to 4
    scale = jnp.full(2, 1 / np.sqrt(4 * base.eta[row] + 1), jnp.float32)
    expected = predict("residual")(params, x_t, scale, jnp.full(2, row, jnp.int32), z_lr, lr)
    out = denoise(params, x_t, jnp.int32(step), z_lr, lr)
    assert 1 < jnp.abs(expected).max() < 10
    np.testing.assert_allclose(out, jnp.clip(expected, -1, 1), atol=1e-5)
    unthinned = predict("residual")(params, x_t, scale, jnp.full(2, step, jnp.int32), z_lr, lr)
    assert step == 0 or jnp.abs(jnp.clip(unthinned, -1, 1) - out).max() > 1e-3


@compiled
def denoise(params, x_t, step, z_lr, lr):
    model = Model(preset())
    return model.denoiser(params, thin(model.preset.schedule.build(), 4), z_lr, lr)(x_t, step)


@pytest.mark.parametrize(("small", "expected"), [(preset(), 1.0), (vq_preset(), 3.0)], ids=["pixels", "latent"])
def test_only_the_pixel_model_clips_its_prediction(small: ModelPreset, expected: float, monkeypatch) -> None:
    monkeypatch.setattr(Model, "predict", lambda self, params, x_t, *rest: 3 + 0 * x_t)
    z = normal(1, 4, 4, small.codec.latent_channels)
    denoise = Model(small).denoiser({}, small.schedule.build(), z, normal(1, 4, 4, 3))
    np.testing.assert_array_equal(denoise(z, jnp.int32(0)), np.full(z.shape, expected))


def test_mask_is_handed_to_the_network() -> None:
    model = Model(preset(scale=1, codec=PixelCodecConfig(1), network=unet_config(cond_mask=True)))
    params, schedule, lr = random_parameters(model), model.preset.schedule.build(), normal(1, 4, 4, 3)

    def shape(*mask: jax.Array):
        return jax.eval_shape(model.denoiser(params, schedule, lr, lr, *mask), lr, jnp.int32(0)).shape

    assert shape(jnp.ones((1, 4, 4, 1))) == (1, 4, 4, 3)
    with pytest.raises(ValueError, match="needs a mask"):
        shape()


def test_equal_models_share_their_abstract_networks():
    first, second, other = Model(small_preset()), Model(small_preset()), Model(small_preset("group"))
    assert first._abstract is second._abstract
    assert first._abstract is not other._abstract
    assert first._abstract is not Model(small_preset(), jnp.bfloat16)._abstract
