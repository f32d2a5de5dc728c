"""Guidance in the pipeline: alpha, maps, references and strips change what they should, there and nowhere else."""

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxsr.guidance.calibration_file import Calibration, CalibrationError, describe_schedule
from jaxsr.guidance.guide import Guide, make_guide
from jaxsr.imaging.resize import downsample_bicubic_uint8
from jaxsr.models.model import Model
from jaxsr.options import Options
from jaxsr.upscaling import upscaler as upscaler_module
from jaxsr.upscaling.plan import schedule_for
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import nearest

with Image.open(Path(__file__).parents[2] / "examples/parrots.png") as photo:
    HR = np.asarray(photo.convert("RGB"))[:128, :160]
LR = downsample_bicubic_uint8(HR, 4)  # 32 x 40
RGB = LR / np.float32(255)
TILES = {"tile": 16, "seed": 1}
LEFT = (0, 0, 20, 32)


@pytest.fixture(scope="module")
def pointwise(small_upscalers) -> Iterator[Upscaler]:
    """A map of each latent value by itself in place of the network: nothing spreads, and it compiles quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "denoiser", lambda *_: lambda x, step: jnp.sin(x + 0.1 * jnp.float32(step)))
        yield replace(small_upscalers["channel"])


@pytest.fixture
def exact_fit(monkeypatch) -> None:
    """Inside, a scale of -1: the reference itself."""
    monkeypatch.setattr(upscaler_module, "measure_tiles", lambda *_: [])
    monkeypatch.setattr(upscaler_module, "fit_reference", lambda moments: ((-1.0, -1.0), (0.0, 0.0)))


def _floats(upscaler: Upscaler, guide: Guide, **options) -> np.ndarray:
    out = np.empty((128, 160, 3), np.float32)
    upscaler.enlarge(RGB, out, Options(**{"tile": 16} | options), guide=guide, seed=1)
    return out


def test_every_choice_changes_the_result(pointwise):
    tiles = TILES | {"steps": 4}  # of two steps, both have about the same variances
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
    """With fixed scales: a fit makes up for most of the difference."""
    monkeypatch.setattr(upscaler_module, "fit_reference", lambda moments: ((-0.5,) * 4, (0.0,) * 4))
    guide, means = make_guide(RGB, 4, reference=HR[:, :80], box=LEFT), ("clean", "shifted")
    clean, shifted = (_floats(pointwise, guide, alpha=0.0, steps=4, reference_mean=mean) for mean in means)
    assert np.abs(clean - shifted)[:, :48].max() > 0.01
    np.testing.assert_allclose(clean[:, 80:], shifted[:, 80:], atol=1e-6)


def test_one_number_is_that_of_every_step_and_the_first_is_t_1(pointwise):
    one, several = (pointwise.upscale(LR, alpha=alpha, **TILES) for alpha in (0.3, (0.3, 0.3)))
    np.testing.assert_array_equal(one, several)
    last = _floats(pointwise, make_guide(RGB, 4), alpha=(-1.0, 0.0))
    z_lr = np.asarray(Model(pointwise.preset).encode_lr({}, jnp.asarray(RGB[None]) * 2 - 1))
    bicubic = np.asarray(Model(pointwise.preset).decode({}, jnp.asarray(z_lr)))[0] / 2 + 0.5
    inner = np.s_[16:48, 16:48]  # where the first tile is alone and sees no border
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


@pytest.mark.parametrize("blend", ["feather", "mean"])
def test_a_map_is_the_factor_of_alpha_at_every_pixel(pointwise, blend):
    factors = np.zeros(LR.shape[:2], np.float32)
    factors[:, 13:] = 1
    plain, full, mixed = (
        pointwise.upscale(LR, blend=blend, **TILES, **more)
        for more in ({}, {"alpha": 0.3}, {"alpha": 0.3, "alpha_map": factors})
    )
    np.testing.assert_array_equal(mixed[:, :52], plain[:, :52])
    np.testing.assert_array_equal(mixed[:, 52:], full[:, 52:])
    half = pointwise.upscale(LR, alpha=0.3, alpha_map=np.full_like(factors, 0.5), blend=blend, **TILES)
    np.testing.assert_array_equal(half, pointwise.upscale(LR, alpha=0.15, blend=blend, **TILES))
    grey = Image.fromarray(np.rint(factors * 255).astype(np.uint8))
    image = pointwise.upscale(LR, alpha=0.3, alpha_map=grey, blend=blend, **TILES)
    np.testing.assert_array_equal(image, mixed)


@pytest.mark.parametrize("blend", ["feather", "mean"])
@pytest.mark.parametrize("box", [(3, 5, 20, 18), LEFT, (39, 31, 1, 1)])
def test_a_scale_of_minus_one_returns_the_reference_in_its_box_and_changes_nothing_around(
    pointwise, exact_fit, blend, box
):
    (x, y, w, h), plain = box, _floats(pointwise, Guide(), blend=blend)
    reference = HR[4 * y : 4 * (y + h), 4 * x : 4 * (x + w)]
    guide = make_guide(RGB, 4, reference=reference, box=box, feather=0)
    result = _floats(pointwise, guide, blend=blend, alpha=0.0)
    inside = np.s_[4 * y : 4 * (y + h), 4 * x : 4 * (x + w)]
    np.testing.assert_allclose(result[inside], reference / 255, atol=2e-6)
    result[inside] = plain[inside]
    np.testing.assert_array_equal(result, plain)


def test_outside_alpha_is_as_without_a_reference(pointwise, exact_fit):
    guide = make_guide(RGB, 4, reference=HR[:, :80], box=LEFT)
    result, without = (_floats(pointwise, g, alpha=0.3) for g in (guide, Guide()))
    np.testing.assert_allclose(result[:, 80:], without[:, 80:], atol=1e-6)
    assert np.abs(result[:, :40] - without[:, :40]).mean() > 0.01


def test_a_reference_helps_where_it_lies_whatever_the_batch(pointwise):
    guide, psnr = make_guide(RGB, 4, reference=HR[:, :80], box=LEFT), {}
    for name, g in {"plain": Guide(), "guided": guide}.items():
        psnr[name] = -10 * np.log10(np.square(_floats(pointwise, g, alpha=0.0) - HR / 255)[:, :48].mean())
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


def test_memory_is_the_result_and_a_few_tiles_with_a_map_and_a_reference(small_upscalers, monkeypatch, exact_fit):
    monkeypatch.setattr(Upscaler, "compiled", lambda *_: nearest)
    image, reference = np.zeros((2048, 32, 3), np.float32), np.zeros((8192, 128, 3), np.uint8)
    tracemalloc.start()
    where = {"reference": reference, "box": (0, 0, 32, 2048), "alpha_map": np.ones((2048, 32), np.float32)}
    guide, out = make_guide(image, 4, **where), np.empty((8192, 128, 3), np.uint8)
    base = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    small_upscalers["channel"].enlarge(image, out, Options(tile=32, alpha=0.1), guide=guide, seed=0)
    peak = tracemalloc.get_traced_memory()[1] - base
    tracemalloc.stop()
    assert peak < 16 * 128 * 128 * 3 * 4  # bytes of sixteen enlarged tiles; the reference as float would be 64


REFUSED = {
    "map size": ({"alpha": 0.1, "alpha_map": np.ones((4, 5))}, "^alpha_map: must be 40x32 .* but is 5x4"),
    "map shape": ({"alpha": 0.1, "alpha_map": LR}, "^alpha_map: must be .h, w."),
    "map values": ({"alpha": 0.1, "alpha_map": np.full((32, 40), np.inf)}, "^alpha_map: .* not finite"),
    "map alone": ({"alpha_map": np.ones((32, 40))}, "^alpha_map: multiplies alpha, which is 0"),
    "through alone": ({"through": "state"}, "^through: there is nothing that guides"),
    "mean of LR": ({"reference_mean": "shifted", "alpha": 0.1}, "^reference_mean: needs reference"),
    "variance alone": ({"reference_variance": "marginal"}, "^reference_variance: there is nothing"),
    "box alone": ({"reference_box": LEFT}, "^reference_box: .* give the reference too"),
    "mask alone": ({"reference_mask": np.ones((32, 40))}, "^reference_mask: .* give the reference too"),
    "feather alone": ({"feather": 3}, "^feather: .* give the reference too"),
    "objective alone": ({"objective": "norm"}, "^objective: .* give the reference too"),
    "objective and alpha": (
        {"objective": "norm", "alpha": 0.1, "reference": HR[:, :80], "reference_box": LEFT},
        "^objective: is for an alpha that is fitted",
    ),
    "variance and fit": (
        {"reference_variance": "marginal", "reference": HR[:, :80], "reference_box": LEFT},
        "^reference_variance: has no effect with a fitted reference, since the fit rescales it",
    ),
    "number of alphas": ({"alpha": (0.1, 0.1, 0.1)}, "^alpha: must be one number or 2, one per step, got 3"),
    "no preset": ({"calibration": "x.json"}, "^calibration: say which of its presets"),
    "no file": ({"preset": "vivid"}, r"^calibration: there is no .*calibration\.json; make one"),
    "no such file": ({"preset": "vivid", "calibration": "x.json"}, r"^calibration: there is no x\.json; check"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_one_sentence(small_upscalers, case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        small_upscalers["channel"].upscale(LR, **options)


def test_a_strip_and_an_alpha_are_refused(small_upscalers):
    out = np.empty((128, 160, 2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"^strip: gives alpha, as alpha does"):
        small_upscalers["channel"].enlarge(RGB, out, Options(alpha=0.1), guide=Guide(strip=(0.1, 0.2)), seed=0)


# Calibrations


def make_calibration(upscaler: Upscaler, **changes) -> Calibration:
    schedule = describe_schedule(schedule_for(upscaler.preset, Options()))
    presets = {"vivid": {"scale": [0.3, 0.1], "rule": "by hand"}, "faithful": {"scale": [-0.1, 0.0], "rule": "by hand"}}
    values = {
        "model": "small",
        "model_sha256": upscaler.sha256,
        "schedule": schedule,
        "sampler": "ancestral",
        "thinning": "ends",
        "precision": "fp32",
        "through": "mean",
        "reference_mean": "clean",
        "reference_variance": "marginal",
        "forward_ode": "diffusion",
        "objective": "norm",
        "candidates": [0.0, 0.1],
        "data": {},
        "seed": 0,
        "presets": presets,
        "open_loop": {},
    }
    return Calibration(**values | changes)


def test_a_preset_is_its_scales_with_what_they_were_found_with(pointwise, tmp_path):
    calibration = make_calibration(pointwise)
    calibration.write(tmp_path / "calibration.json")
    by_hand = {
        name: {"alpha": tuple(p["scale"]), "reference_variance": "marginal"} for name, p in calibration.presets.items()
    }
    results = {name: pointwise.upscale(LR, **options, **TILES) for name, options in by_hand.items()}
    assert (results["vivid"] != results["faithful"]).mean() > 0.3
    for given in (calibration, tmp_path / "calibration.json", str(tmp_path / "calibration.json")):
        vivid = pointwise.upscale(LR, preset="vivid", calibration=given, **TILES)
        np.testing.assert_array_equal(vivid, results["vivid"])
    beside = replace(pointwise, source=tmp_path / "model.safetensors")
    np.testing.assert_array_equal(beside.upscale(LR, preset="faithful", **TILES), results["faithful"])


def test_a_preset_of_zeros_is_the_plain_sampler_whatever_it_was_found_with(pointwise):
    presets = {"faithful": {"scale": [0.0, 0.0], "rule": "by hand"}}
    calibration = make_calibration(pointwise, presets=presets, through="state", reference_variance="marginal")
    result = pointwise.upscale(LR, preset="faithful", calibration=calibration, **TILES)
    np.testing.assert_array_equal(result, pointwise.upscale(LR, **TILES))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"model_sha256": "0" * 64}, {}, "for other weights"),
        ({}, {"steps": 3}, "for 2 steps, not for 3"),
        ({}, {"sampler": "heun"}, "sampler ancestral"),
        ({}, {"preset": "balanced"}, "preset: .* no 'balanced'; it has vivid, faithful"),
        ({}, {"alpha": 0.1}, "^alpha: the preset gives it"),
        ({}, {"through": "state"}, "^through: the preset is for mean, not state"),
    ],
)
def test_a_calibration_for_something_else_is_refused(small_upscalers, changes, options, message):
    upscaler = small_upscalers["channel"]
    with pytest.raises(ValueError, match=message) as caught:
        upscaler.upscale(LR, **{"preset": "vivid", "calibration": make_calibration(upscaler, **changes)} | options)
    assert isinstance(caught.value, CalibrationError) or message.startswith("^")
