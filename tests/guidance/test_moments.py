"""Test the moments of the open loop against the Gaussian world and sums over all elements, both in float64."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxsr.diffusion import exponential_schedule
from jaxsr.guidance.moments import measure, moments, reference_path
from tests.oracles import GaussianWorld
from tests.words import with_form

WORLD, SCHEDULE, SHAPE = GaussianWorld(), exponential_schedule(4, min_noise_level=0.2), (2, 3, 4, 2)
RANDOM = np.random.default_rng(0)
Y = np.full(SHAPE, WORLD.y)
HR = RANDOM.normal(WORLD.m, WORLD.s, SHAPE)
NOISE = RANDOM.normal(size=(5, *SHAPE))
MASK = RANDOM.uniform(size=(*SHAPE[:3], 1))
NAMES = ("sampler", "reference", "through", "reference_mean", "reference_variance", "forward_ode")
DENOISE = WORLD.denoiser(SCHEDULE)


def float32(x: np.ndarray) -> jax.Array:
    return jnp.asarray(x, jnp.float32)


def predict(x: np.ndarray, i: int) -> np.ndarray:
    """Return E[x_0 | x_t] in float64."""
    eta = SCHEDULE.eta[i]
    return WORLD.m + WORLD.gain(SCHEDULE)[i] * (x - (1 - eta) * WORLD.m - eta * WORLD.y)


def flow(x: np.ndarray, f: np.ndarray, eta: float, eta_to: float) -> np.ndarray:
    """Take SinSR's step from eta to eta_to for a given prediction, by its equation."""
    return f + eta_to * (Y - f) + np.sqrt(eta_to / eta) * (x - f - eta * (Y - f))


def exact_mean(x: np.ndarray, i: int, sampler: str) -> np.ndarray:
    eta, prev, f = SCHEDULE.eta[i], SCHEDULE.eta_prev[i], predict(x, i)
    if sampler == "ancestral":
        return prev / eta * x + (eta - prev) / eta * f
    if sampler == "heun" and i > 0:
        f = (f + predict(flow(x, f, eta, prev), i - 1)) / 2
    return flow(x, f, eta, prev)


def exact_path(forward_ode: str) -> np.ndarray:
    if forward_ode == "diffusion":
        return np.stack([HR + e * (Y - HR) + SCHEDULE.kappa * np.sqrt(e) * NOISE[0] for e in SCHEDULE.eta])
    path = [HR + SCHEDULE.eta[0] * (Y - HR)]
    for i in range(1, 4):
        path.append(flow(path[-1], predict(path[-1], i - 1), SCHEDULE.eta[i - 1], SCHEDULE.eta[i]))
    return np.stack(path)


def exact(*, sampler, reference, through, reference_mean, reference_variance, forward_ode) -> tuple:
    """Return (Delta, S), each (T, b, h, w, c), by Algorithm 1 line by line."""
    path, kappa = exact_path(forward_ode), SCHEDULE.kappa
    sigma, marginal = SCHEDULE.variance, kappa**2 * SCHEDULE.eta_prev
    x, deltas, corrections = Y + kappa * np.sqrt(SCHEDULE.eta[-1]) * NOISE[0], [], []
    for k, i in enumerate(reversed(range(4)), 1):
        mean, zero = exact_mean(x, i, sampler), np.zeros(SHAPE)
        deltas.append(exact_mean(path[i], i, sampler) - mean)
        c = Y if reference == "lr" else HR
        c = c + SCHEDULE.eta_prev[i] * (Y - c) if reference_mean == "shifted" else c
        factor = sigma[max(i, 1)] / marginal[max(i, 1)] if reference_variance == "marginal" else 1.0
        if through == "state":  # the mean is a linear function of x
            factor *= exact_mean(zero + 1, i, sampler) - exact_mean(zero, i, sampler)
        corrections.append(factor * (mean - c))
        x = mean + np.sqrt(sigma[i]) * NOISE[k] if sampler == "ancestral" else mean
    return np.stack(deltas[::-1]), np.stack(corrections[::-1])


def brute_force(delta: np.ndarray, s: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    axes = (-3, -2, -1)
    n = weights.sum(axes)
    means = [(weights * x).sum(axes) / n for x in (delta, s)]
    d, s = (x - mean[..., None, None, None] for x, mean in zip((delta, s), means, strict=True))
    return [n, *means, *((weights * a * b).sum(axes) for a, b in ((d, d), (s, s), (d, s)))]


@pytest.mark.parametrize(
    ("words", "mask"),
    [
        ("ancestral lr mean clean posterior diffusion", None),
        ("ancestral hr state shifted marginal diffusion", MASK),
        ("deterministic hr mean shifted posterior inversion", MASK[:1]),
        ("heun lr state clean posterior diffusion", None),
    ],
)
def test_the_moments_are_those_of_the_gaussian_world(words: str, mask: np.ndarray | None) -> None:
    options = dict(zip(NAMES, words.split(), strict=True))
    noise, weights = float32(NOISE), np.broadcast_to(1.0 if mask is None else mask, SHAPE)
    weigh = None if mask is None else float32(mask)
    run = jax.jit(lambda y, hr: measure(DENOISE, SCHEDULE, y, hr, lambda k: noise[k], mask=weigh, **with_form(options)))
    got = run(float32(Y), float32(HR))
    for ours, truth in zip(got, brute_force(*exact(**options), np.broadcast_to(weights, (4, *SHAPE))), strict=True):
        np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=2e-5)


def test_the_oracle_knows_every_option() -> None:
    base = dict(zip(NAMES, ["ancestral", "hr", "mean", "clean", "posterior", "diffusion"], strict=True))
    for name, value in zip(NAMES, ["heun", "lr", "state", "shifted", "marginal", "inversion"], strict=True):
        assert not np.allclose(exact(**base), exact(**base | {name: value}), atol=1e-3), name


def test_large_means_lose_no_digits() -> None:
    delta, s = (RANDOM.normal(100, 0.1, (2, 16, 16, 3)).astype(np.float32) for _ in range(2))
    weights = np.ones(delta.shape, np.float32)
    truth = brute_force(*(x.astype(np.float64) for x in (delta, s, weights)))
    for ours, expected in zip(moments(*map(jnp.asarray, (delta, s, weights))), truth, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-4)


def test_a_mask_of_zeros_leaves_zeros() -> None:
    nothing = moments(float32(HR), float32(Y), jnp.zeros(SHAPE))
    np.testing.assert_array_equal(np.stack(nothing), np.zeros((6, 2)))


def test_unknown_words_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would raise before us
    y, noise = float32(Y), lambda k: float32(NOISE)[k]
    for name in NAMES:
        with pytest.raises(ValueError, match=f"{name}: no 'x'; choose one of"):
            measure(DENOISE, SCHEDULE, y, y, noise, **with_form({name: "x"}))
    with pytest.raises(ValueError, match="forward_ode: no 'x'; choose one of diffusion, inversion"):
        reference_path(DENOISE, SCHEDULE, y, y, y, "x")
