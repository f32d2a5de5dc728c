"""Test the search for corrections: its variants are the samplers that they claim to be."""

import re
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from benchmarks import correction_variants, corrections
from benchmarks.correction_variants import Variant
from benchmarks.corrections import chain, in_bands
from jaxsr.diffusion import exponential_schedule, thin
from jaxsr.imaging.resize import downsample_bicubic, downsample_bicubic_uint8, upsample_bicubic
from jaxsr.models.pixel_codec import pixel_unshuffle
from jaxsr.models.problem import Problem
from jaxsr.numerics.gaussian_world import GaussianWorld


def photograph(side: int = 264, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hr").mkdir()
    for seed in range(2):
        Image.fromarray(photograph(seed=seed)).save(tmp_path / f"hr/{seed}.png")
    return tmp_path / "hr"


@pytest.mark.slow
def test_the_plain_and_the_guided_variant_are_upscale(small_upscalers, folder):
    upscaler = small_upscalers["channel"]
    pairs = corrections.load_pairs(folder, None, None)
    total = upscaler.preset.schedule.build().steps
    for alpha in (0.0, 0.1):
        variant = Variant(rows=tuple(range(total)), alpha=(alpha,))
        lr = np.stack([pair.lr for pair in pairs]).astype(np.float32) / 255
        keys = jnp.stack([corrections.noise.image_key(0, corrections.noise.content_hash(image), 0) for image in lr])
        found = corrections.sampler(upscaler, variant)(upscaler.params, keys, jnp.asarray(lr))
        for image, result in zip(lr, found, strict=True):
            expected = upscaler.upscale(image, seed=0, steps=total, alpha=alpha, tile="off")
            np.testing.assert_allclose(result, expected, atol=2e-5)


def test_every_word_changes_the_result():
    """In the Gaussian world, whose chain needs no network."""
    schedule = exponential_schedule(4, kappa=0.5, power=0.3, min_noise_level=0.04, sqrt_eta_end=0.99)
    denoise, normal = GaussianWorld(kappa=0.5).denoiser(schedule), np.random.default_rng(0).normal
    lr = jnp.asarray(photograph(16)[None] / 255, jnp.float32)
    encode = lambda image: pixel_unshuffle(image * 2 - 1, 4)  # noqa: E731
    noises = {k: jnp.asarray(normal(size=(1, 16, 16, 48)), jnp.float32) for k in [*range(5), *range(1000, 4005)]}
    z_lr, f = encode(upsample_bicubic(lr, 4)), lambda x, i: denoise(x, jnp.int32(i))
    problem = Problem(schedule, z_lr, f, noises.__getitem__, encode, lambda z: z)
    preset = SimpleNamespace(scale=4, codec=SimpleNamespace(factor=4))
    words = [
        "",
        "alpha=0.1",
        "alpha=0.1 variance=marginal",
        "alpha=0.1 bands=1,0",
        "temperature=0.5",
        "order=2",
        "sampler=flow",
    ]
    words += ["sampler=flow order=2", *(f"alpha=0.1 reference={name}" for name in correction_variants.REFERENCES[1:])]
    results = []
    for variant in map(Variant.parse, words):
        reference = corrections.reference_of(problem, schedule, variant, lr, preset)
        results.append(chain(problem, schedule, variant, 4, reference))
    for i, one in enumerate(results):
        for j, other in enumerate(results[:i]):
            assert np.abs(one - other).max() > 1e-4, (words[i], words[j])


def test_the_projection_has_a_strength(small_upscalers, folder):
    upscaler, lr = small_upscalers["channel"], jnp.asarray(photograph(64)[None] / 255, jnp.float32)
    keys = jnp.stack([corrections.noise.image_key(0, corrections.noise.content_hash(np.asarray(lr[0])), 0)])
    errors = []
    for text in ("rows=0", "rows=0 project=0.5", "rows=0 project=1"):
        result = corrections.sampler(upscaler, Variant.parse(text))(upscaler.params, keys, lr)
        errors.append(float(jnp.abs(downsample_bicubic(result, 4) - lr).mean()))
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_bands_add_up_to_the_whole():
    latent = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 5, 48)), jnp.float32)
    np.testing.assert_allclose(in_bands(latent, (1, 1, 1), 4), latent, atol=1e-5)
    np.testing.assert_allclose(in_bands(latent, (0.5,), 4), latent / 2)
    flat = jnp.ones((1, 6, 5, 48))
    np.testing.assert_allclose(in_bands(flat, (1, 1, 0), 4), 0, atol=1e-6)


def test_two_step_slopes_have_the_second_order():
    """In the Gaussian world the flow is known: its error falls with the square of the step, Euler's with the step."""
    world = GaussianWorld(kappa=2.0)

    def error(steps: int, order: int) -> float:
        # Nearly uniform steps in log(lam), and an end so near to eta = 0 that the last step's error does not matter.
        full = exponential_schedule(steps, kappa=2.0, power=1.0, min_noise_level=0.0002, sqrt_eta_end=0.9)
        z_lr = jnp.full((1, 1, 1, 3), world.y)
        first = jnp.asarray([[[[-1.0, 0.2, 1.5]]]])
        denoise = world.denoiser(full)
        problem = SimpleNamespace(z_lr=z_lr, denoise=lambda x, i: denoise(x, jnp.int32(i)), noise=lambda k: first)
        found = chain(problem, full, Variant(sampler="flow", order=order), 1, z_lr)
        x_t = z_lr + 2.0 * full.eta[-1] ** 0.5 * first
        return float(jnp.abs(found - world.flow(x_t, full.eta[-1], 0.0)).max())

    euler, second = ([error(n, order) for n in (20, 40, 80)] for order in (1, 2))
    assert euler[1] / euler[2] == pytest.approx(2, rel=0.1)
    assert second[1] / second[2] == pytest.approx(4, rel=0.2)


def test_stochastic_second_order_is_one_of_the_variance():
    """In the Gaussian world the mean of ancestral samples is exact; the variance that they lack has the solver's order.

    The result is linear in the noises. Every place of this latent has the noise of one step alone, so the squares of
    the places add up to the variance of the result.
    """
    world = GaussianWorld(m=0.0, y=0.0, s=0.5, kappa=2.0)

    def missing(steps: int, order: int) -> float:
        full = exponential_schedule(steps, kappa=2.0, power=1.0, min_noise_level=0.0002, sqrt_eta_end=0.9)
        signal, drawn = ((1 - full.eta[-1]) * world.s) ** 2, 4.0 * full.eta[-1]
        denoise, whole = world.denoiser(full), (1 + signal / drawn) ** 0.5  # x_T has the signal's variance too
        noise = lambda k: jnp.zeros((1, 1, steps, 1)).at[..., k, :].set(whole if k == 0 else 1.0)  # noqa: E731
        z_lr = jnp.zeros((1, 1, steps, 1))
        problem = SimpleNamespace(z_lr=z_lr, denoise=lambda x, i: denoise(x, jnp.int32(i)), noise=noise)
        found = chain(problem, full, Variant(order=order), 1, z_lr)
        return abs(1 - float(jnp.sum(jnp.square(found))) / world.s**2)

    first, second = ([missing(steps, order) for steps in (20, 40, 80)] for order in (1, 2))
    assert first[1] / first[2] == pytest.approx(2, rel=0.1)
    assert second[1] / second[2] == pytest.approx(4, rel=0.1)
    assert second[0] < first[0] / 5


def test_every_band_has_a_scale_that_restores_its_variance():
    """Two bands that the pyramid tells apart exactly, each a Gaussian world of its own.

    Plain few-step samples of a world have the deviation sqrt(V) in place of s. The last step multiplies a deviation by
    1 + scale, so the best scale of a band is s / sqrt(V) - 1.
    """
    schedule = exponential_schedule(4, kappa=2.0, power=0.3, min_noise_level=0.04, sqrt_eta_end=0.99)
    fine, coarse = GaussianWorld(m=0.0, y=0.0, s=0.2), GaussianWorld(m=0.0, y=0.0, s=0.7)
    stripes = jnp.asarray([1.0, -1.0] * 4)[None, :, None, None] * jnp.ones((1, 1, 8, 3))
    flat = jnp.ones((1, 8, 8, 3))

    def denoise(x, i):
        amount = jnp.mean(x * stripes)
        high = amount * stripes
        return fine.denoiser(schedule)(high, jnp.int32(i)) + coarse.denoiser(schedule)(x - high, jnp.int32(i))

    variances = [world.moments(schedule, "deterministic").variance[-1] for world in (fine, coarse)]
    bands = tuple(w.s / v**0.5 - 1 for w, v in zip((fine, coarse), variances, strict=True))
    assert bands[1] > 0.05
    noise = lambda k: stripes + flat  # noqa: E731  # one deviation of each
    problem = SimpleNamespace(z_lr=jnp.zeros_like(flat), denoise=denoise, noise=noise)
    variant = Variant(sampler="flow", alpha=(1.0, 0.0, 0.0, 0.0), bands=bands)
    found = chain(problem, schedule, variant, 1, problem.z_lr)
    inside = np.s_[:, 2:-2]  # a mirrored border breaks the stripes
    np.testing.assert_allclose(found[inside], (fine.s * stripes + coarse.s * flat)[inside], atol=1e-5)


@pytest.mark.parametrize("s", [0.05, 0.2, 0.7])
def test_a_band_of_ancestral_samples_has_that_scale_too(s):
    """The variance is that of many samples of one world, whose steps draw noise."""
    schedule = exponential_schedule(4, kappa=2.0, power=0.3, min_noise_level=0.04, sqrt_eta_end=0.99)
    world = GaussianWorld(m=0.0, y=0.0, s=s)
    scale = s / world.moments(schedule, "ancestral").variance[-1] ** 0.5 - 1
    assert scale > 0.5
    shape, random = (1, 128, 128, 3), np.random.default_rng(0)
    denoise = world.denoiser(schedule)
    problem = SimpleNamespace(
        z_lr=jnp.zeros(shape),
        denoise=lambda x, i: denoise(x, jnp.int32(i)),
        noise=lambda k: jnp.asarray(random.standard_normal(shape, np.float32)),
    )
    found = chain(problem, schedule, Variant(alpha=(scale, 0.0, 0.0, 0.0)), 1, problem.z_lr)
    assert float(jnp.std(found)) == pytest.approx(s, rel=0.01)


def test_words_that_are_no_variant_are_refused():
    assert Variant.parse("rows=0,59 alpha=0.1,0.2 order=2").alpha == (0.1, 0.2)
    with pytest.raises(ValueError, match=r"--variants: speed=3: there is no 'speed'; use rows, alpha"):
        Variant.parse("speed=3")
    with pytest.raises(ValueError, match="--variants: reference=hr: use one of lr, first"):
        Variant.parse("reference=hr")
    with pytest.raises(ValueError, match="--variants: variance=prior: use one of posterior, marginal"):
        Variant.parse("variance=prior")
    with pytest.raises(ValueError, match="--variants: alpha: give one number, or one for each of 2 steps"):
        Variant.parse("rows=0,59 alpha=0.1,0.2,0.3")
    with pytest.raises(ValueError, match=r"--variants: temperature: the last step .* draws no noise"):
        Variant.parse("temperature=0.8,1,1,1")
    assert Variant.parse("alpha=printed", (0.0, 0.0, 0.2, 0.0)).alpha == (0.0, 0.0, 0.2, 0.0)


def test_a_stopped_run_goes_on(small_checkpoints, folder, tmp_path, capsys):
    path = small_checkpoints["channel"]
    words = ["--model", str(path), "--hr", str(folder), "--metrics", "psnr", "-o", str(tmp_path / "out"), "--variants"]
    assert corrections.main([*words, "rows=0"]) == 0
    before = (tmp_path / "out/variants.jsonl").read_text()
    assert corrections.main([*words, "rows=0", "rows=0 project=1"]) == 0
    after = (tmp_path / "out/variants.jsonl").read_text()
    assert after.startswith(before)
    assert after.count("\n") == 2
    assert re.search(r"\| rows=0 project=1 \| 1 \| \d+\.\d\d \([+-]\d+\.\d\d \[.+, .+\]\) \|", capsys.readouterr().out)


def test_every_table_begins_with_the_plain_sampler_and_has_variants():
    for name, texts in correction_variants.ABLATIONS.items():
        words = correction_variants.variants_of([name])
        variants = [Variant.parse(text, (0.0, 0.0, 0.2, 0.0)) for text in words]
        assert variants[0] == Variant(), name
        assert words[1] == correction_variants.FIFTEEN
        assert len({*variants}) == len({*words}), name
        assert {*texts} <= {*words}


def test_the_quadratic_rows_are_those_of_the_thinning():
    rows = [Variant.parse(words).rows for words in correction_variants.ABLATIONS["spacing"][2:]]
    full = exponential_schedule(60)
    assert rows == [tuple(thin(full, len(one), keep="quadratic").timestep_map.tolist()) for one in rows]
    assert [len(one) for one in rows] == [4, 8, 15]


def test_the_share_of_the_gap_is_that_of_the_means():
    columns = {name: {"lpips": [number, number + 0.2, None]} for name, number in (("own", 0.3), ("a", 0.4), ("b", 0.2))}
    assert corrections.share_of_gap(columns["own"], columns["a"], columns["b"]) == "50 %"
    assert corrections.share_of_gap(columns["a"], columns["a"], columns["a"]) == "–"
    assert corrections.share_of_gap({"psnr": [1.0]}, columns["a"], columns["b"]) == "–"
    assert corrections.share_of_gap(columns["own"], columns["b"], columns["a"]) == "–"  # nothing to reach


def test_the_printed_scales_are_those_of_the_models_calibration():
    scales = corrections.printed_scales(corrections.jaxsr.load("photo-x4"))
    assert len(scales) == 4
    assert scales[2] == pytest.approx(0.009, rel=0.1)  # the card states it; tiny-x4 has 0.211


def test_a_set_gives_the_centres_of_its_pairs(tmp_path, small_checkpoints):
    (tmp_path / "data/kodak24").mkdir(parents=True)
    Image.fromarray(photograph(288)).save(tmp_path / "data/kodak24/kodim01.png")
    (pair,) = corrections.centres_of_set("kodak", tmp_path / "data", None)
    np.testing.assert_array_equal(pair.hr, photograph(288)[16:272, 16:272])
    np.testing.assert_array_equal(pair.lr, downsample_bicubic_uint8(photograph(288), 4)[4:68, 4:68])
    words = ["--model", str(small_checkpoints["channel"]), "--metrics", "psnr", "-o", str(tmp_path / "out")]
    given = ["--data", str(tmp_path / "data"), "--set", "kodak"]
    assert corrections.main([*words, *given, "--variants", "rows=0"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--hr, --set: give one of them"),
        (["--hr", "x", "--set", "kodak"], "--hr, --set: give one of them"),
        (["--set", "kodak"], "--data, --set: give both"),
        (["--data", "x", "--set", "kodak", "--lr", "y"], "--lr: needs --hr"),
    ],
)
def test_options_that_do_not_fit_are_refused(words, said, tmp_path, capsys):
    assert corrections.main([*words, "-o", str(tmp_path / "out")]) == 1
    assert said in capsys.readouterr().err
