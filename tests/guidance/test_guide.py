"""Test that alpha, references and strips change the pipeline's results as they should."""

from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxsr.guidance.guide import Guide, make_guide
from jaxsr.models.model import Model
from jaxsr.options import Options
from jaxsr.upscaling import upscaler as upscaler_module
from jaxsr.upscaling.upscaler import Upscaler
from tests.guidance.parrots import HR, LEFT, LR, RGB, TILES, floats
from tests.small_model import nearest


def test_every_choice_changes_the_result(pointwise):
    tiles = TILES | {"steps": 4}  # with two steps, both reference variances are about equal
    base = {"alpha": 0.3} | tiles
    first, plain = pointwise.upscale(LR, **base), pointwise.upscale(LR, **tiles)
    ramp = np.linspace(0, 1, LR[..., 0].size, dtype=np.float32).reshape(LR.shape[:2])
    changes = {
        "alpha": -0.3,
        "through": "state",
        "reference_variance": "marginal",
        "alpha_map": ramp,
    }
    assert (first != plain).mean() > 0.3
    for name, value in changes.items():
        assert (pointwise.upscale(LR, **base | {name: value}) != first).mean() > 0.2, name


def test_every_choice_of_a_reference_changes_the_result(pointwise):
    reference = {"reference": HR[:, :80], "reference_box": LEFT} | TILES
    fitted = pointwise.upscale(LR, **reference)
    assert (fitted != pointwise.upscale(LR, **TILES)).mean() > 0.3
    changes = {"feather": 2, "objective": "norm", "alpha": 0.3}
    for name, value in changes.items():
        assert (pointwise.upscale(LR, **reference | {name: value}) != fitted).mean() > 0.02, name


def test_the_mean_of_a_reference_changes_the_result(pointwise, exact_fit, monkeypatch):
    """The scales are fixed, because a fit makes up for most of the difference."""
    monkeypatch.setattr(upscaler_module, "fit_reference", lambda moments: ((-0.5,) * 4, (0.0,) * 4))
    guide, means = make_guide(RGB, 4, reference=HR[:, :80], box=LEFT), ("clean", "shifted")
    clean, shifted = (floats(pointwise, guide, alpha=0.0, steps=4, reference_mean=mean) for mean in means)
    assert np.abs(clean - shifted)[:, :48].max() > 0.01
    np.testing.assert_allclose(clean[:, 80:], shifted[:, 80:], atol=1e-6)


def test_one_number_is_that_of_every_step_and_the_first_is_t_1(pointwise):
    one, several = (pointwise.upscale(LR, alpha=alpha, **TILES) for alpha in (0.3, (0.3, 0.3)))
    np.testing.assert_array_equal(one, several)
    last = floats(pointwise, make_guide(RGB, 4), alpha=(-1.0, 0.0))
    z_lr = np.asarray(Model(pointwise.preset).encode_lr({}, jnp.asarray(RGB[None]) * 2 - 1))
    bicubic = np.asarray(Model(pointwise.preset).decode({}, jnp.asarray(z_lr)))[0] / 2 + 0.5
    inner = np.s_[16:48, 16:48]  # only the first tile covers this part, away from borders
    np.testing.assert_allclose(last[inner], np.clip(bicubic, 0, 1)[inner], atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.0}, {"alpha": (0.0, 0.0)}], ids=str)
def test_no_alpha_is_the_plain_program(small_upscalers, monkeypatch, options):
    called = []

    def record(*arguments):
        called.append(len(arguments))
        return nearest(*arguments)

    monkeypatch.setattr(Upscaler, "compiled", lambda *_: record)
    for more in ({}, {"alpha": 0.1}):
        small_upscalers["channel"].upscale(LR, **TILES | options | more)
    assert set(called[: len(called) // 2]) == {4}
    assert set(called[len(called) // 2 :]) == {5}


def test_a_reference_helps_where_it_lies_whatever_the_batch(pointwise):
    guide, psnr = make_guide(RGB, 4, reference=HR[:, :80], box=LEFT), {}
    for name, g in {"plain": Guide(), "guided": guide}.items():
        psnr[name] = -10 * np.log10(np.square(floats(pointwise, g, alpha=0.0) - HR / 255)[:, :48].mean())
    assert psnr["guided"] > psnr["plain"] + 1
    runs = []
    for batch in (1, 4):
        out = np.empty((128, 160, 3), np.float32)
        runs.append(pointwise.enlarge(RGB, out, Options(tile=16), guide=guide, seed=1, batch=batch))
    one, four = (np.array([*run.scales.lr, run.scales.hr, run.scales.offset]) for run in runs)
    np.testing.assert_allclose(one, four, rtol=1e-4, atol=1e-6)
    assert (one[1] < 0).any()


def test_a_strip_is_its_panels_and_shares_the_encoding_and_the_first_call(small_upscalers, monkeypatch):
    calls = Counter()

    def counted(name, function):
        def callback(x, y):
            calls[name] += 1
            return y

        def call(x, *rest):
            y = function(x, *rest)
            return jax.pure_callback(
                lambda a, b: callback(a, np.asarray(b)),
                jax.ShapeDtypeStruct(y.shape, y.dtype),
                x,
                y,
                vmap_method="sequential",
            )

        return call

    encode = Model.encode_lr
    monkeypatch.setattr(Model, "encode_lr", lambda self, p, lr: counted("encode", lambda x: encode(self, p, x))(lr))
    network = counted("network", lambda x, step: jnp.sin(x + 0.1 * jnp.float32(step)))
    monkeypatch.setattr(Model, "denoiser", lambda *_: network)
    upscaler, alphas = replace(small_upscalers["channel"]), (-0.2, 0.0, 0.3)
    out = np.empty((128, 160, 3, 3), np.uint8)
    run = upscaler.enlarge(RGB, out, Options(tile=48), guide=Guide(strip=alphas), seed=1)
    assert calls == {"encode": 1, "network": 1 + 3}  # two steps
    assert run.scales.lr == tuple((alpha, alpha) for alpha in alphas)
    for i, alpha in enumerate(alphas):
        single = upscaler.upscale(LR, alpha=alpha, tile=48, seed=1)
        assert np.abs(out[:, :, i].astype(int) - single).max() <= 1
    assert np.abs(out[:, :, 0].astype(int) - out[:, :, 2]).mean() > 1


def test_words_that_nobody_knows_are_refused():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=r"^objective: no 'mean'; choose one of norm, step-norm, lstsq"):
            Guide(objective="mean")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
