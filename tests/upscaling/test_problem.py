"""Test `Upscaler.problem`: what it gives to the user's own samplers, and that the pipeline uses the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import diffusion
from jaxsr.cli.sample_options import make_parser
from jaxsr.models.problem import Problem
from jaxsr.options import Options
from jaxsr.upscaling import image_problem
from jaxsr.upscaling.programs import program_key

LR = np.random.default_rng(0).integers(0, 256, (20, 36, 3), np.uint8)
UNIT = LR.astype(np.float32) / np.float32(255)


@pytest.fixture
def upscaler(small_upscalers):
    return small_upscalers["channel"]


def sampled(problem: Problem, **how) -> np.ndarray:
    return problem.decode(diffusion.sample(problem.denoise, problem.schedule, problem.z_lr, problem.noise, **how))


@pytest.mark.parametrize(
    ("network", "sampler"),
    [("channel", "ancestral"), ("channel", "heun"), pytest.param("group", "ancestral", marks=pytest.mark.slow)],
)
def test_the_built_in_samplers_on_it_are_the_pipeline(small_upscalers, network, sampler):
    upscaler = small_upscalers[network]
    whole = upscaler.upscale(UNIT, tile="off", sampler=sampler, seed=3, sample=1, steps=3)
    ours = sampled(upscaler.problem(LR, steps=3, seed=3, sample=1), sampler=sampler)
    assert (ours.shape, ours.dtype) == ((80, 144, 3), np.float32)
    np.testing.assert_allclose(ours, whole, atol=5e-6)


def test_a_batch_is_its_images(upscaler):
    images = np.stack([LR, LR[::-1]])
    both = sampled(upscaler.problem(images))
    assert both.shape == (2, 80, 144, 3)
    for image, ours in zip(images, both, strict=True):
        np.testing.assert_allclose(ours, sampled(upscaler.problem(image)), atol=5e-6)


def test_guidance_by_an_encoded_reference_is_that_of_the_pipeline(upscaler):
    hr = np.random.default_rng(1).random((80, 144, 3), np.float32)
    problem = upscaler.problem(LR, steps=2)
    guidance = diffusion.Guidance(reference=problem.encode(hr), scale=-1.0)
    np.testing.assert_allclose(
        sampled(problem, guidance=[guidance]), hr, atol=1e-5
    )  # scale -1: the mean is the reference
    lr_guided = sampled(problem, guidance=[diffusion.Guidance(reference=problem.z_lr, scale=0.2)])
    np.testing.assert_allclose(lr_guided, upscaler.upscale(UNIT, tile="off", steps=2, alpha=0.2), atol=5e-6)


def test_its_functions_can_be_traced(upscaler):
    problem = upscaler.problem(LR[:16, :16], steps=2)
    eager = problem.denoise(problem.z_lr, 1)
    np.testing.assert_allclose(jax.jit(problem.denoise)(problem.z_lr, jnp.int32(1)), eager, atol=1e-5)
    gradient = jax.grad(lambda x: problem.denoise(x, jnp.int32(1)).sum())(problem.z_lr)
    assert np.isfinite(gradient).all()
    noise = jax.vmap(problem.noise)(jnp.arange(3))
    np.testing.assert_array_equal(noise[2], problem.noise(2))


def test_seed_sample_steps_and_precision_matter(upscaler):
    base = upscaler.problem(LR)
    for changed in ({"seed": 1}, {"sample": 1}):
        assert np.abs(upscaler.problem(LR, **changed).noise(0) - base.noise(0)).max() > 1, changed
    assert upscaler.problem(LR, steps=1).schedule.steps == 1
    released = upscaler.problem(LR, steps=2, thinning="released").schedule
    assert (released.timestep_map != upscaler.problem(LR, steps=2).schedule.timestep_map).any()
    assert upscaler.problem(LR, thinning=(1, 3)).schedule.timestep_map.tolist() == [1, 3]
    rounded = upscaler.problem(LR, precision="bf16").denoise(base.z_lr, 1)
    assert 1e-4 < np.abs(rounded - base.denoise(base.z_lr, 1)).max() < 0.1


def test_problems_of_one_model_share_what_is_compiled(upscaler):
    one, other = upscaler.problem(LR, steps=2), upscaler.problem(LR[::-1], steps=2, seed=1)
    one.denoise(one.z_lr, 1)
    before = image_problem._compiled_calls.cache_info().hits, _compiled_programs(upscaler)
    other.denoise(other.z_lr, 0)
    upscaler.problem(LR, steps=2).denoise(one.z_lr, 1)
    assert (image_problem._compiled_calls.cache_info().hits, _compiled_programs(upscaler)) == (before[0] + 2, before[1])


def _compiled_programs(upscaler) -> int:
    return image_problem._compiled_calls(upscaler.preset, "fp32", 2, "ends").predict._cache_size()


def test_an_image_of_another_size_is_refused_by_encode(upscaler):
    problem = upscaler.problem(LR)
    with pytest.raises(ValueError, match=r"^image: must be 144x80 pixels, as the result is, but is 36x20"):
        problem.encode(LR)
    with pytest.raises(ValueError, match=r"^steps: this model's schedule has 4 steps"):
        upscaler.problem(LR, steps=9)


def still(denoise, x_t, z_lr, row):
    """Take a step that always goes to the prediction."""
    x0_hat = denoise(x_t, row.step)
    return x0_hat, x0_hat


@pytest.fixture
def listed(monkeypatch) -> str:
    """List a sampler in `SAMPLERS` and do nothing else; return its name."""
    monkeypatch.setitem(diffusion.SAMPLERS, "still", diffusion.Sampler(still, draws_noise=True))
    return "still"


def test_listing_a_sampler_suffices(upscaler, listed):
    assert Options(sampler=listed).sampler == listed
    assert make_parser().parse_args(["-i", "x", "--sampler", listed]).sampler == listed
    own = upscaler.upscale(UNIT, sampler=listed, steps=3, tile="off")
    assert np.abs(own - upscaler.upscale(UNIT, steps=3, tile="off")).max() > 1e-3
    np.testing.assert_allclose(own, sampled(upscaler.problem(LR, steps=3), sampler=listed), atol=5e-6)


def test_another_step_under_the_same_name_is_another_program(upscaler, listed, monkeypatch):
    before = program_key(upscaler.preset, Options(sampler=listed), remat=False)
    assert program_key(upscaler.preset, Options(sampler=listed), remat=False) == before
    monkeypatch.setitem(diffusion.SAMPLERS, listed, diffusion.Sampler(lambda *_: still(*_), draws_noise=True))
    assert program_key(upscaler.preset, Options(sampler=listed), remat=False) != before


@pytest.mark.parametrize("draws_noise", [True, False])
def test_a_sampler_says_itself_whether_it_draws_noise(monkeypatch, draws_noise):
    monkeypatch.setitem(diffusion.SAMPLERS, "still", diffusion.Sampler(still, draws_noise=draws_noise))
    schedule, asked = diffusion.exponential_schedule(4), []
    z_lr = jnp.zeros((1, 2, 2, 1))

    def noise(k):
        jax.debug.callback(lambda k: asked.append(int(k)), k)
        return jnp.ones_like(z_lr)

    steps = diffusion.trajectory(lambda x, step: x / 2, schedule, z_lr, noise, sampler="still")
    jax.effects_barrier()
    assert sorted(set(asked)) == ([0, 1, 2, 3] if draws_noise else [0])  # the last step has a variance of 0
    spread = np.abs(np.asarray(steps.sample - steps.mean)).max((1, 2, 3, 4))
    np.testing.assert_allclose(spread, np.sqrt(schedule.variance[::-1]) * draws_noise, rtol=1e-6, atol=1e-7)
