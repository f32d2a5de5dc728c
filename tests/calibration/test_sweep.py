"""Test that the sweep makes every candidate as the sampler alone does, and that it does shared work once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import diffusion
from jaxsr.calibration.candidates import Candidate, even_chunks
from jaxsr.calibration.scores import keep_images, make_score
from jaxsr.calibration.sweep import Chain, image_keys, open_function, plain_rows, share_first_call, sweep_function
from jaxsr.diffusion import Guidance
from jaxsr.guidance.moments import Moments, measure
from jaxsr.imaging import noise
from jaxsr.imaging.resize import project_onto
from jaxsr.metrics.catalogue import MAX_DB
from jaxsr.upscaling import programs
from tests.calibration.fake import CALLS, Counted, Smooth, fake_upscaler
from tests.models.tiny import compiled
from tests.small_model import small_preset
from tests.words import with_form

STEPS = 3
PARAMS = {"gain": jnp.float32(1)}
SCALES = np.array([[0, 0, 0], [0.3, 0.3, 0.3], [0.4, 0, 0], [0, 0, -0.2]], np.float32)
SCHEDULE = diffusion.thin(small_preset().schedule.build(), STEPS)
VARIANTS = [
    {},
    {"sampler": "deterministic"},
    {"sampler": "heun"},
    {"through": "state"},
    {"reference_variance": "marginal"},
]


def crops(count: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8) for side in (16, 64))


def swept(chunk: int = 4, model=Smooth, scales=SCALES, **words) -> np.ndarray:
    lr, hr = crops()
    function = sweep_function(Chain(model(small_preset()), SCHEDULE, **with_form(words)), keep_images, chunk)
    return np.asarray(compiled(function)(PARAMS, image_keys(0, lr), lr, hr, plain_rows(scales))["images"])


def alone(sampler: str = "ancestral", **words) -> np.ndarray:
    """Make every candidate by the plain loop, image by image."""
    model = Smooth(small_preset())

    @compiled
    def enlarge(unit, key, scale):
        z_lr, draw, denoise = conditions(model, unit, key)
        guidance = [Guidance(reference=z_lr, scale=scale, **with_form(words))]
        return model.decode(PARAMS, diffusion.sample(denoise, SCHEDULE, z_lr, draw, sampler=sampler, guidance=guidance))

    units = crops()[0][:, None].astype(np.float32) / np.float32(255)
    keys = [noise.image_key(0, noise.content_hash(unit[0]), 0) for unit in units]
    images = [[enlarge(unit, key, scale)[0] for unit, key in zip(units, keys, strict=True)] for scale in SCALES]
    return np.clip((np.array(images) + 1) / 2, 0, 1)


def conditions(model: Smooth, unit, key):
    """Return z_lr, noise and denoiser of one image, as in the pipeline."""
    signed = jnp.asarray(unit) * 2 - 1
    z_lr = model.encode_lr(PARAMS, signed)

    def draw(k):
        return noise.field(jax.random.fold_in(key, k), jnp.zeros(2, jnp.int32), z_lr.shape[1:])[None]

    return z_lr, draw, model.denoiser(PARAMS, SCHEDULE, z_lr, signed)


@pytest.mark.parametrize("words", VARIANTS, ids=str)
def test_every_candidate_is_what_the_sampler_makes_of_it_alone(words):
    images = swept(**words)
    np.testing.assert_allclose(images, alone(**words), atol=2e-6)
    distances = [np.abs(images[i] - images[j]).max() for i in range(4) for j in range(i)]
    assert min(distances) > 1e-4  # all candidates differ


def test_projections_share_the_sampling():
    lr, hr = crops()
    lr = 96 + lr // 4  # so that nothing is clipped before it is projected
    chain, keys = Chain(Counted(small_preset()), SCHEDULE), image_keys(0, lr)
    images, calls = [], []
    for strengths in ((0.0,), (0.0, 0.5, 1.0)):
        sweep = compiled(sweep_function(chain, keep_images, 2, strengths))
        CALLS.clear()
        images.append(np.asarray(sweep(PARAMS, keys, lr, hr, plain_rows(SCALES[:2]))["images"]))
        jax.effects_barrier()
        calls.append(CALLS["network"])
    assert calls[0] == calls[1] > 0
    plain, rows = images[0], images[1].reshape(2, 3, *images[1].shape[1:])
    for i, strength in enumerate((0.0, 0.5, 1.0)):
        expected = [project_onto(jnp.asarray(row), jnp.asarray(lr / np.float32(255)), 4, strength) for row in plain]
        np.testing.assert_allclose(rows[:, i], expected, atol=2e-6)


def test_every_choice_changes_the_images():
    images = [swept(scales=SCALES[1:2], **words) for words in VARIANTS]
    assert min(np.abs(images[i] - images[j]).max() for i in range(len(images)) for j in range(i)) > 2e-5


@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_chunks_change_nothing(chunk):
    np.testing.assert_allclose(swept(chunk=chunk), swept(chunk=2), atol=2e-6)


@pytest.mark.parametrize(
    ("words", "chunk", "first_calls"),
    [({}, 4, 1), ({}, 2, 1), ({}, 1, 1), ({"sampler": "deterministic"}, 2, 1), ({"through": "state"}, 2, 2)],
    ids=str,
)
def test_the_encoder_and_the_first_call_are_shared(words, chunk, first_calls):
    CALLS.clear()
    swept(chunk=chunk, model=Counted, **words)
    jax.effects_barrier()
    candidates, images = len(SCALES), 2
    assert {"encoder": images, "network": images * (candidates * (STEPS - 1) + first_calls)} == CALLS


def test_a_single_step_is_one_call_for_all_candidates():
    CALLS.clear()
    lr, hr = crops()
    chain = Chain(Counted(small_preset()), diffusion.thin(small_preset().schedule.build(), 1))
    compiled(sweep_function(chain, keep_images, 2))(PARAMS, image_keys(0, lr), lr, hr, plain_rows(SCALES[:, :1]))
    jax.effects_barrier()
    assert CALLS["network"] == 2


def test_the_known_prediction_is_used_at_the_start_alone():
    given = share_first_call(lambda x, step: x + step.astype(jnp.float32), SCHEDULE, jnp.zeros((1, 1, 1, 1)))
    probe = jnp.full((1, 1, 1, 1), 5.0)
    assert [float(given(probe, jnp.int32(step))[0, 0, 0, 0]) for step in range(STEPS)] == [5, 6, 2]


def test_scale_zero_is_what_the_pipeline_makes_of_the_crop(monkeypatch):
    monkeypatch.setattr(programs, "Model", Smooth)
    enlarged = [fake_upscaler().upscale(lr, seed=0, tile=16, steps=STEPS) for lr in crops()[0]]
    images = np.rint(255 * swept(scales=SCALES[:1])[0])
    assert np.abs(images - np.stack(enlarged)).max() <= 1  # rounding may differ by one grey level
    assert np.mean(images != np.stack(enlarged)) < 1e-3


def test_another_seed_or_image_is_other_noise():
    lr, _ = crops()
    keys = image_keys(0, lr)
    assert len(np.unique(np.concatenate([keys, image_keys(1, lr)]), axis=0)) == 4
    assert (image_keys(0, lr[::-1]) == keys[::-1]).all()


def test_the_open_loop_is_that_of_the_library():
    lr, hr = crops()
    chain, model = Chain(Smooth(small_preset()), SCHEDULE), Smooth(small_preset())
    found = {}
    for ode in ("diffusion", "inversion"):
        found[ode] = compiled(open_function(chain, ode))(PARAMS, image_keys(0, lr), lr, hr)
        assert {name: value.shape for name, value in found[ode].items()} == dict.fromkeys(Moments._fields, (STEPS, 2))
    assert np.abs(found["diffusion"]["square_delta"] - found["inversion"]["square_delta"]).max() > 1e-3
    low, high = (image[1:].astype(np.float32) / np.float32(255) for image in (lr, hr))
    key = noise.image_key(0, noise.content_hash(low[0]), 0)

    @compiled
    def single(low, high, key):
        z_lr, draw, denoise = conditions(model, low, key)
        return measure(denoise, SCHEDULE, z_lr, model.encode(PARAMS, 2 * high - 1), draw)

    expected = single(low, high, key)
    for name, value in expected._asdict().items():
        np.testing.assert_allclose(found["diffusion"][name][:, 1:], value, rtol=1e-5, atol=1e-6)


def test_scores_are_per_image_and_equal_images_have_finite_ones():
    lr, hr = ((jnp.asarray(image, jnp.float32) / 255) for image in crops())
    scored = compiled(make_score(("psnr", "ssim", "lr_consistency", "swd"), 4))(hr, hr, lr)
    assert {name: value.shape for name, value in scored.items()} == dict.fromkeys(scored, (2,))
    assert scored["psnr"].tolist() == [MAX_DB, MAX_DB]
    np.testing.assert_allclose(scored["ssim"], 1, atol=1e-6)
    assert scored["swd"].tolist() == [0, 0]
    assert float(scored["lr_consistency"].max()) < 20  # LR and HR are independent noise here


@pytest.mark.parametrize(("count", "most", "expected"), [(5, 16, (5, 5)), (5, 2, (6, 2)), (61, 16, (64, 16))])
def test_chunks_are_even_and_filled_up_with_the_last_candidate(count, most, expected):
    candidates = [Candidate("constant", float(i), (float(i), 2.0 * i)) for i in range(count)]
    made, size = even_chunks(candidates, most)
    assert (len(made.scale), size) == expected
    assert made.scale[:count].tolist() == [list(one.scale) for one in candidates]
    assert (made.scale[count:] == made.scale[count - 1]).all()
