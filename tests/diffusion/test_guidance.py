"""Test guidance against the lemma, the guided Gaussian world, finite differences, and the plain sampler."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxsr.choices import REFERENCE_MEANS, REFERENCE_VARIANCES, THROUGHS, GradientForm
from jaxsr.diffusion import (
    SAMPLERS,
    Guidance,
    Schedule,
    exponential_schedule,
    normal_noise,
    sample,
    thin,
    trajectory,
)
from jaxsr.diffusion.guidance import kl_gradient
from jaxsr.diffusion.process import reverse_mean
from tests.oracles import GaussianWorld
from tests.words import with_form

WORLD = GaussianWorld()
SHAPE = (2, 4, 4, 3)
FOUR = thin(exponential_schedule(60), 4)
Y = jax.random.uniform(jax.random.key(1), SHAPE, minval=-1.0)
HR = jax.random.uniform(jax.random.key(2), SHAPE, minval=-1.0)
NOISE = normal_noise(jax.random.key(0), 4, SHAPE)
OPTIONS = list(product(THROUGHS, REFERENCE_MEANS, REFERENCE_VARIANCES))


def network(x, step):
    """Predict x_0 by a small nonlinear function that mixes neighbours."""
    weights = jax.random.normal(jax.random.key(3), (3, 3, 3, 3)) / 5
    mixed = jax.lax.conv_general_dilated(x, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.tanh(mixed + 0.1 * step.astype(x.dtype))


def run(*guidance: Guidance, sampler: str = "ancestral", denoise=network) -> np.ndarray:
    return np.asarray(sample(denoise, FOUR, Y, NOISE, sampler=sampler, guidance=guidance))


def exact_moments(schedule: Schedule, *guidance: Guidance) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact mean and variance after every step.

    Every sample is a linear function of T + 1 independent noises.
    """
    count = schedule.steps + 1  # image 0 has no noise, image k + 1 a unit of noise k

    def unit(k):
        return jnp.zeros((count + 1, 1, 1, 1)).at[k + 1].set(1.0)

    y = jnp.full((count + 1, 1, 1, 1), WORLD.y)
    steps = trajectory(WORLD.denoiser(schedule), schedule, y, unit, guidance=guidance)
    samples = np.asarray(steps.sample, np.float64)[..., 0, 0, 0]
    return samples[:, 0], np.square(samples[:, 1:] - samples[:, :1]).sum(1)


@pytest.mark.parametrize(("through", "reference_mean", "reference_variance"), OPTIONS)
@pytest.mark.parametrize("steps", [4, 15])
def test_moments_follow_the_guided_recursion(through, reference_mean, reference_variance, steps) -> None:
    schedule, c, mask = exponential_schedule(steps, min_noise_level=0.2), -0.9, 0.7
    scales, offsets = np.linspace(0.3, -0.2, steps), np.linspace(-0.1, 0.1, steps)
    sigma = np.concatenate([schedule.variance[1:2], schedule.variance[1:]])
    marginal = schedule.kappa**2 * np.concatenate([schedule.eta[:1], schedule.eta[:-1]])

    def push(i: int, slope: float, offset: float) -> tuple[float, float]:
        center = c + schedule.eta_prev[i] * (WORLD.y - c) if reference_mean == "shifted" else c
        pull = scales[i] * (slope if through == "state" else 1)
        pull *= sigma[i] / marginal[i] if reference_variance == "marginal" else 1
        return slope * (1 + mask * pull), offset + mask * (pull * (offset - center) + offsets[i])

    guidance = Guidance(
        reference=jnp.full((1, 1, 1, 1), c),
        scale=jnp.asarray(scales, jnp.float32),
        offset=jnp.asarray(offsets, jnp.float32),
        mask=mask,
        form=GradientForm(through, reference_mean, reference_variance),
    )
    means, variances = exact_moments(schedule, guidance)
    expected_means, expected_variances = WORLD.ancestral_moments(schedule, push)
    np.testing.assert_allclose(means, expected_means[1:], atol=1e-5)
    np.testing.assert_allclose(variances, expected_variances[1:], rtol=1e-5)


@pytest.mark.parametrize("steps", [4, 15, 60])
def test_the_closed_form_scale_restores_the_true_variance_at_every_step(steps: int) -> None:
    schedule = exponential_schedule(steps, min_noise_level=0.2 if steps == 4 else 0.04)
    scales, variance = np.zeros(steps), schedule.kappa**2 * schedule.eta[-1]
    truth = [WORLD.true_variance(eta, schedule.kappa) for eta in schedule.eta_prev]
    for i in reversed(range(steps)):
        slope = WORLD.step_line(schedule, i)[0]
        scales[i] = np.sqrt((truth[i] - schedule.variance[i]) / variance) / slope - 1
        variance = truth[i]
    guidance = Guidance(reference=jnp.full((1, 1, 1, 1), WORLD.y), scale=jnp.asarray(scales, jnp.float32))
    np.testing.assert_allclose(exact_moments(schedule, guidance)[1], truth[::-1], rtol=1e-5)
    assert exact_moments(schedule)[1][-1] < 0.95 * WORLD.s**2  # without guidance, some variance is missing


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_scale_minus_one_returns_the_reference(sampler: str) -> None:
    np.testing.assert_allclose(run(Guidance(reference=HR, scale=-1.0), sampler=sampler), HR, atol=1e-6)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("through", THROUGHS)
def test_scale_zero_is_the_plain_sampler(sampler: str, through) -> None:
    guided = run(Guidance(reference=HR, scale=0.0, form=GradientForm(through=through)), sampler=sampler)
    np.testing.assert_allclose(guided, run(sampler=sampler), atol=1e-6)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_option_changes_the_result(sampler: str) -> None:
    base = {"reference": HR, "scale": 0.2}
    changes = {
        "scale": 0.3,
        "offset": 0.1,
        "mask": 0.5,
        "reference": Y,
        "through": "state",
        "reference_mean": "shifted",
        "reference_variance": "marginal",
    }
    first = run(Guidance(**with_form(base)), sampler=sampler)
    assert not np.allclose(first, run(sampler=sampler), atol=1e-3)
    for name, value in changes.items():
        assert not np.allclose(first, run(Guidance(**with_form(base | {name: value})), sampler=sampler), atol=1e-3), (
            name
        )


@pytest.fixture
def operation_by_operation():
    """Run without compilation, operation by operation.

    Two compiled programs may round the same formula differently (FMA); single operations may not.
    """
    with jax.disable_jit():
        yield


@pytest.mark.usefixtures("operation_by_operation")
def test_a_mask_of_zeros_changes_nothing_outside() -> None:
    pointwise = lambda x, step: jnp.tanh(x + 0.1 * jnp.float32(step))  # noqa: E731
    mask = jnp.zeros((2, 4, 4, 1)).at[:, :2].set(1.0)
    guidance = Guidance(reference=HR, scale=0.3, offset=0.1, mask=mask)
    plain, guided = run(denoise=pointwise), run(guidance, denoise=pointwise)
    np.testing.assert_array_equal(guided[:, 2:], plain[:, 2:])
    whole = run(Guidance(reference=HR, scale=0.3, offset=0.1), denoise=pointwise)
    np.testing.assert_array_equal(guided[:, :2], whole[:, :2])
    assert not np.allclose(guided[:, :2], plain[:, :2], atol=1e-2)


@pytest.mark.usefixtures("operation_by_operation")
def test_references_add_up_each_in_its_region() -> None:
    pointwise = lambda x, step: jnp.tanh(x + 0.1 * jnp.float32(step))  # noqa: E731
    inside = jnp.zeros((2, 4, 4, 1)).at[:, :2].set(1.0)
    hr = Guidance(reference=HR, scale=-1.0, mask=inside)
    lr = Guidance(reference=Y, scale=0.3, mask=1 - inside)
    both = run(hr, lr, denoise=pointwise)
    np.testing.assert_allclose(both[:, :2], HR[:, :2], atol=1e-6)
    np.testing.assert_array_equal(both[:, 2:], run(lr, denoise=pointwise)[:, 2:])


def test_scales_are_in_the_order_of_the_schedule() -> None:
    last_only = Guidance(reference=HR, scale=jnp.array([-1.0, 0.0, 0.0, 0.0]))  # t = 1 is row 0, the last step taken
    plain, guided = (trajectory(network, FOUR, Y, NOISE, guidance=g) for g in ((), (last_only,)))
    np.testing.assert_allclose(guided.sample[:3], plain.sample[:3], atol=1e-6)
    np.testing.assert_allclose(guided.sample[3], HR, atol=1e-6)
    np.testing.assert_array_equal(guided.mean[3], guided.sample[3])


@pytest.mark.parametrize("through", THROUGHS)
def test_gradient_agrees_with_finite_differences_through_a_network(through) -> None:
    """The test runs in float64: where the slope nearly cancels, float32 leaves three digits of a difference."""
    double = partial(
        jax.tree.map, lambda array: array.astype(jnp.float64 if array.dtype == jnp.float32 else array.dtype)
    )
    with jax.enable_x64(True):
        row = double(jax.tree.map(lambda column: column[2], FOUR.tables()))
        x, y, reference = double((jax.random.normal(jax.random.key(5), SHAPE), Y, HR))

        def step(x):
            return reverse_mean(x, network(x, row.step), row)

        mean, vjp = jax.vjp(step, x)
        guidance = Guidance(reference=reference, scale=1.0, form=GradientForm(through=through))
        gradient = kl_gradient(guidance, mean, lambda g: vjp(g)[0], y, row)

        def kl(mean):
            return jnp.square(mean - reference).sum() / (2 * FOUR.variance_clipped[2])

        for key in jax.random.split(jax.random.key(6), 3):
            direction, h = jax.random.normal(key, SHAPE), 1e-4
            ahead, behind = (
                (mean + s * h * direction) if through == "mean" else step(x + s * h * direction) for s in (1, -1)
            )
            slope = (kl(ahead) - kl(behind)) / (2 * h)
            np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)


def instructions(function) -> int:
    text = jax.jit(function).lower(Y).compile().as_text()
    assert text
    return sum(" = " in line for line in text.splitlines())


def test_no_guidance_compiles_to_the_plain_sampler() -> None:
    def plain(y):
        def body(x, scanned):
            row, k = scanned
            return reverse_mean(x, network(x, row.step), row) + row.std * NOISE(k), None

        rows = jax.tree.map(lambda column: column[::-1], FOUR.tables())
        x = y + FOUR.kappa * FOUR.eta[-1] ** 0.5 * NOISE(jnp.int32(0))
        return jax.lax.scan(body, x, (rows, jnp.arange(1, 5, dtype=jnp.int32)))[0]

    ours = instructions(lambda y: sample(network, FOUR, y, NOISE, guidance=()))
    assert abs(ours / instructions(plain) - 1) < 0.01
    assert instructions(lambda y: sample(network, FOUR, y, NOISE, guidance=[Guidance(reference=HR, scale=0.1)])) > ours


@pytest.mark.parametrize("field", ["scale", "mask", "reference"])
def test_vmap_equals_the_loop(field: str) -> None:
    base = {"reference": HR, "scale": jnp.full(4, 0.2), "mask": jnp.ones((2, 4, 4, 1))}
    shape = base[field].shape
    several = 0.3 * jax.random.uniform(jax.random.key(9), (3, *shape))
    run_one = lambda value: sample(network, FOUR, Y, NOISE, guidance=[Guidance(**base | {field: value})])  # noqa: E731
    np.testing.assert_allclose(jax.vmap(run_one)(several), np.stack([run_one(v) for v in several]), atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_unrolling_the_first_step_changes_nothing(sampler: str) -> None:
    both = [
        trajectory(
            network, FOUR, Y, NOISE, sampler=sampler, guidance=[Guidance(reference=HR, scale=0.2)], unroll_first=u
        )
        for u in (False, True)
    ]
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), *both)


@pytest.mark.parametrize(("unroll_first", "calls"), [(True, 1 + 5 * 3), (False, 5 * 4)])
def test_unrolled_candidates_share_the_first_network_call(unroll_first: bool, calls: int) -> None:
    seen = []

    def counted(x, step):
        return jax.pure_callback(
            lambda v: (seen.append(1), np.tanh(v))[1],
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            x,
            vmap_method="sequential",
        )

    def one(scale):
        return sample(
            counted, FOUR, Y, NOISE, guidance=[Guidance(reference=HR, scale=scale)], unroll_first=unroll_first
        )

    jax.block_until_ready(jax.jit(jax.vmap(one))(jnp.linspace(-0.2, 0.4, 5)))
    assert len(seen) == calls


def test_wrong_words_and_lengths_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would raise before us
    for name in ("through", "reference_mean", "reference_variance"):
        with pytest.raises(ValueError, match=f"{name}: no 'x'; choose one of"):
            GradientForm(**{name: "x"})
    for name in ("scale", "offset"):
        values = {"scale": 0.1, name: jnp.ones(3)}
        with pytest.raises(ValueError, match=rf"{name} must be one number or 4, one per step, got shape \(3,\)"):
            run(Guidance(reference=HR, **values))


@pytest.mark.parametrize("through", THROUGHS)
def test_a_single_step_is_guided_too(through) -> None:
    schedule = thin(exponential_schedule(60), 1)
    guided = sample(
        network, schedule, Y, NOISE, guidance=[Guidance(reference=HR, scale=-0.5, form=GradientForm(through=through))]
    )
    plain = sample(network, schedule, Y, NOISE)
    assert np.isfinite(guided).all()
    assert not np.allclose(guided, plain, atol=1e-3)
