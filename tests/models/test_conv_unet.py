"""Test the convolutional U-Net against NumPy, and what its preset predicts against the Gaussian posterior mean."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from jaxsr.diffusion.process import forward_sample
from jaxsr.models.conv_unet import ConvBlock, ConvUNet, ConvUNetConfig
from jaxsr.models.model import Model, linear_estimate
from jaxsr.models.pixel_codec import block_transform
from jaxsr.models.presets import PRESETS, PixelCodecConfig, preset_from_dict
from tests.models.tiny import compiled, random_values, randomised

SMALL = ConvUNetConfig(in_channels=12, out_channels=12, widths=(8, 12), blocks=(1, 1), lq_factor=2)
PRESET = replace(PRESETS["photo_x4"], network=replace(SMALL, in_channels=192, out_channels=384))


def images(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def numpy_convolution(x: np.ndarray, conv) -> np.ndarray:
    kernel, bias = np.asarray(conv.kernel[...], np.float64), np.asarray(conv.bias[...], np.float64)
    out = [
        sum(correlate2d(x[..., i], kernel[..., i, o], mode="same") for i in range(kernel.shape[2])) + bias[o]
        for o in range(kernel.shape[3])
    ]
    return np.stack(out, -1)


def test_a_block_is_what_it_says():
    block = randomised(lambda rngs: ConvBlock(6, 10, rngs=rngs, dtype=jnp.float32))
    x, emb = images(1, 5, 7, 6), images(1, 10, seed=1)
    got = block(x, emb)
    h, e = np.asarray(x[0], np.float64), np.asarray(emb[0], np.float64)
    normed = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
    normed = normed * np.asarray(block.norm.scale[...]) + np.asarray(block.norm.bias[...])
    scale, shift = np.split(e @ np.asarray(block.emb.kernel[...]) + np.asarray(block.emb.bias[...]), 2)
    inner = numpy_convolution(normed * (1 + scale) + shift, block.first)
    expected = h + numpy_convolution(inner / (1 + np.exp(-inner)), block.second)
    np.testing.assert_allclose(got[0], expected, atol=2e-5)


def test_every_parameter_has_an_effect():
    network = randomised(lambda rngs: ConvUNet(SMALL, rngs=rngs))
    x, lq, t = images(1, 4, 6, 12), images(1, 8, 12, 3, seed=1), jnp.array([3])
    from flax import nnx

    graph, state = nnx.split(network)
    gradient = compiled(jax.grad(lambda s: jnp.square(nnx.merge(graph, s)(x, t, lq)).sum()))(state)
    still = [path for path, leaf in nnx.to_flat_state(gradient) if not np.abs(leaf.get_value()).max() > 0]
    assert not still


def test_a_tile_gives_the_pixels_of_the_whole_image():
    network = randomised(lambda rngs: ConvUNet(SMALL, rngs=rngs))
    run, t = compiled(lambda x, lq: network(x, t, lq)), jnp.array([3])
    x, lq = images(1, 48, 16, 12), images(1, 96, 32, 3, seed=1)
    whole, tile = run(x, lq), run(x[:, 8:40], lq[:, 16:80])
    # 2 blocks at half the size (8 positions), 2 at the whole (4) and the ends (2) look at most 14 positions far.
    np.testing.assert_allclose(tile[:, 14:-14], whole[:, 22:-22], atol=1e-5)
    assert np.abs(tile - whole[:, 8:40]).max() > 1e-3


def test_remat_gives_the_same_gradient():
    params = jax.tree.map(jnp.asarray, random_values(Model(PRESET).shapes()))
    x, lq = images(1, 4, 4, 192), images(1, 8, 8, 3, seed=1)

    def gradient(remat: bool) -> jax.Array:
        model = Model(PRESET, remat=remat)
        return compiled(
            jax.grad(lambda z: jnp.square(model.predict(params, z, jnp.ones(()), jnp.array([5]), x, lq)).sum())
        )(x + 0.1)

    np.testing.assert_allclose(gradient(False), gradient(True), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "lq", "message"),
    [
        ((1, 3, 4, 12), (1, 6, 8, 3), r"height and width must be multiples of 2, got \(3, 4\); pad first"),
        ((1, 4, 4, 12), (1, 4, 4, 3), r"lq must be 2 times the size of x, got \(1, 4, 4, 3\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(x, lq, message):
    network = randomised(lambda rngs: ConvUNet(SMALL, rngs=rngs))
    with pytest.raises(ValueError, match=message):
        network(jnp.zeros(x), jnp.array([0]), jnp.zeros(lq))


def test_a_mask_is_refused():
    network = randomised(lambda rngs: ConvUNet(SMALL, rngs=rngs))
    with pytest.raises(ValueError, match="takes no mask"):
        network.check(jnp.zeros((1, 4, 4, 12)), jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 8, 8, 1)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"blocks": (1,)}, "one entry per level"),
        ({"widths": (), "blocks": ()}, "one entry per level"),
        ({"widths": (7, 12)}, "even"),
        ({"lq_factor": 0}, "positive"),
    ],
)
def test_hyperparameters_that_do_not_fit_are_refused(changed, message):
    with pytest.raises(ValueError, match=rf"^ConvUNetConfig: .*{message}"):
        replace(SMALL, **changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"residual_std": (0.1, 0.2)}, "one number, or one for each channel"),
        ({"codec": PRESETS["realsr_s4_v3"].codec}, "needs the codec without parameters"),
        ({"network": replace(SMALL, in_channels=192, out_channels=192)}, "twice as many channels out as in"),
    ],
)
def test_a_prediction_that_does_not_fit_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(PRESET, **changed)


def test_the_preset_survives_a_checkpoint():
    for preset in (PRESET, PRESETS["photo_x4"]):
        assert preset_from_dict(preset.to_dict()) == preset


def test_an_untrained_network_predicts_the_gaussian_posterior_mean():
    """Its output is zero. What remains is E[x_0 | x_t] for x_0 ~ N(y_0, C), solved here with whole matrices."""
    model, basis = Model(PRESET), block_transform(8)
    covariance = basis.T @ np.diag(np.square(PRESET.residual_std)) @ basis
    params, schedule = compiled(model.init)(jax.random.key(0)), PRESET.schedule.build()
    z_lr, lq = images(3, 2, 2, 192) * 0.3, jnp.zeros((3, 4, 4, 3))
    x_t, times = z_lr + 0.2 * images(3, 2, 2, 192, seed=1), np.array([0, 20, 59])
    got = compiled(model.predict)(params, x_t, jnp.ones(()), jnp.asarray(times), z_lr, lq)
    for i, t in enumerate(times):
        eta, kappa = schedule.eta[t], schedule.kappa
        spread = (1 - eta) ** 2 * covariance + kappa**2 * eta * np.eye(192)
        gain = (1 - eta) * covariance @ np.linalg.inv(spread)
        seen = np.asarray(x_t[i] - (1 - eta) * z_lr[i] - eta * z_lr[i], np.float64)
        np.testing.assert_allclose(got[i], z_lr[i] + seen @ gain.T, atol=1e-5)


def test_one_standard_deviation_stands_for_all():
    preset, z_lr = replace(PRESET, residual_std=0.1), images(1, 2, 2, 192) * 0.3
    model, (t, x_t) = Model(preset), (20, images(1, 2, 2, 192, seed=1))
    params, lq = compiled(model.init)(jax.random.key(0)), jnp.zeros((1, 4, 4, 3))
    got = compiled(model.predict)(params, x_t, jnp.ones(()), jnp.array([t]), z_lr, lq)
    eta, noise = preset.schedule.build().eta[t], preset.schedule.kappa**2 * preset.schedule.build().eta[t]
    gain = 0.01 * (1 - eta) / ((1 - eta) ** 2 * 0.01 + noise)
    np.testing.assert_allclose(got, z_lr + gain * (x_t - z_lr), atol=1e-5)


def test_the_network_sees_as_much_of_x_t_as_it_tells(monkeypatch):
    """x_t comes from (F), with coefficients of the standard deviations that the preset supposes."""
    seen = []
    monkeypatch.setattr(ConvUNet, "__call__", lambda self, x, t, lq, mask=None: seen.append(x) or jnp.tile(0 * x, 2))
    model, schedule, s = Model(PRESET), PRESET.schedule.build(), np.asarray(PRESET.residual_std)
    params = jax.tree.map(jnp.asarray, random_values(model.shapes()))
    for t in (0, 20, 59):
        z_lr, basis = images(4, 16, 16, 192) * 0.3, jnp.asarray(block_transform(8), jnp.float32)
        x0 = z_lr + (s.astype(np.float32)[None, None, None] * images(4, 16, 16, 192, seed=1)) @ basis
        x_t = forward_sample(x0, z_lr, images(4, 16, 16, 192, seed=2), jnp.float32(schedule.eta[t]), schedule.kappa)
        model.predict(params, x_t, jnp.ones(()), jnp.full(4, t), z_lr, jnp.zeros((4, 32, 32, 3)))
        noise, rest = schedule.kappa**2 * schedule.eta[t], 1 - schedule.eta[t]
        expected = np.sqrt(rest**2 * s**2 / (rest**2 * s**2 + noise))
        np.testing.assert_allclose(np.asarray(seen[-1]).std((0, 1, 2)), expected, rtol=0.12)
    assert expected.max() < 0.03  # at t = T, x_t tells nothing


def test_gain_and_deviation_are_those_of_the_posterior():
    """Prior and observation add their precisions; the mean is the observation's share of them."""
    schedule, s = PRESET.schedule.build(), np.geomspace(0.01, 1, 7)[None]
    eta, kappa = schedule.eta[:, None], schedule.kappa
    seen = (1 - eta) ** 2 / (kappa**2 * eta)
    gain, deviation = linear_estimate(jnp.asarray(s, jnp.float32), jnp.asarray(eta, jnp.float32), kappa)
    np.testing.assert_allclose(deviation, (1 / s**2 + seen) ** -0.5, rtol=1e-5)
    np.testing.assert_allclose(gain, seen / (1 / s**2 + seen) / (1 - eta), rtol=1e-4)


@pytest.mark.parametrize(("output", "factor"), [(0.5, np.exp(4 * np.tanh(0.5 / 4))), (-1e3, np.exp(-4))])
def test_the_network_sets_the_local_detail_and_corrects_the_mean(monkeypatch, output, factor):
    halves = {"detail": output, "correction": 0.7}

    def fake(self, x, t, lq, mask=None):
        return jnp.concatenate([jnp.full_like(x, value) for value in halves.values()], -1)

    monkeypatch.setattr(ConvUNet, "__call__", fake)
    model, basis, t = Model(PRESET), block_transform(8), 20
    params = jax.tree.map(jnp.asarray, random_values(model.shapes()))
    z_lr, x_t = images(1, 2, 4, 192) * 0.3, images(1, 2, 4, 192, seed=1)
    got = model.predict(params, x_t, jnp.ones(()), jnp.array([t]), z_lr, jnp.zeros((1, 4, 8, 3)))
    eta, s = PRESET.schedule.build().eta[t], np.asarray(PRESET.residual_std) * factor
    gain, deviation = (np.asarray(a) for a in linear_estimate(jnp.asarray(s, jnp.float32), jnp.float32(eta), 0.5))
    expected = np.asarray(z_lr) + (gain * (np.asarray(x_t - z_lr) @ basis.T) + deviation * 0.7) @ basis
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_codec_of_the_preset_folds_whole_blocks():
    assert PRESETS["photo_x4"].codec == PixelCodecConfig(8)
    assert PRESETS["photo_x4"].align == 4
