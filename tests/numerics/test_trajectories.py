"""Test paths, their alignment and plane, and spectra against cases worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.diffusion import exponential_schedule, normal_noise
from jaxsr.diffusion.process import forward_sample
from jaxsr.numerics.gaussian_world import GaussianWorld
from jaxsr.numerics.trajectories import REFERENCE_KINDS, Paths, alignment, cosine, paths, pca_plane, radial_spectrum

WORLD = GaussianWorld()
SHAPE = (2, 8, 8, 3)
FOUR = exponential_schedule(4, min_noise_level=0.2)
LR = jax.random.normal(jax.random.key(0), SHAPE)
HR = jax.random.normal(jax.random.key(1), SHAPE)
NOISE = normal_noise(jax.random.key(2), 4, SHAPE)
DENOISE = WORLD.denoiser(FOUR)


def test_the_three_paths_share_their_noise() -> None:
    found = paths(DENOISE, FOUR, LR, HR, NOISE)
    assert [path.shape for path in found] == [(5, *SHAPE)] * 3
    np.testing.assert_array_equal(found.hr[0], HR)
    np.testing.assert_array_equal(found.lr[0], LR)
    eta = FOUR.tables().eta[2]
    np.testing.assert_allclose(found.hr[3], forward_sample(HR, LR, NOISE(0), eta, FOUR.kappa), rtol=1e-6)
    np.testing.assert_allclose(found.hr[3] - found.lr[3], (1 - eta) * (HR - LR), atol=1e-5)
    np.testing.assert_allclose(found.sr[4], found.lr[4], atol=1e-6)  # the chain starts at the LR image's own x_T
    assert np.isfinite(found.sr).all()


def test_every_reference_is_another_path_and_an_exact_network_is_the_oracle() -> None:
    kinds = {kind: paths(DENOISE, FOUR, LR, HR, NOISE, reference=kind).hr for kind in REFERENCE_KINDS}
    assert np.abs(kinds["diffusion"] - kinds["inversion"]).max() > 1e-2
    assert np.abs(kinds["diffusion"] - kinds["oracle"]).max() > 1e-2
    for sampler in ("ancestral", "deterministic"):
        found = paths(lambda x, step: HR, FOUR, LR, HR, NOISE, reference="oracle", sampler=sampler)
        np.testing.assert_allclose(found.sr, found.hr, atol=1e-6)
        np.testing.assert_allclose(found.lr[0], LR, atol=1e-6)
    with pytest.raises(ValueError, match="reference: no 'ode'; choose one of diffusion, inversion, oracle"):
        paths.__wrapped__(DENOISE, FOUR, LR, HR, NOISE, reference="ode")


def test_alignment_of_points_on_a_line() -> None:
    """The alignment is -1 for SR between HR and LR, +1 beyond HR, 0 at a right angle, and NaN where SR is LR."""
    unit = jax.random.normal(jax.random.key(5), (2, *SHAPE[1:]))
    other = jax.random.normal(jax.random.key(6), (2, *SHAPE[1:]))
    other = other - unit * (other * unit).sum((1, 2, 3), keepdims=True) / (unit**2).sum((1, 2, 3), keepdims=True)
    hr, lr = unit[None], jnp.zeros_like(unit)[None]
    for sr, expected in ((0.3 * unit, -1.0), (1.4 * unit, 1.0)):
        np.testing.assert_allclose(alignment(Paths(sr[None], hr, lr)), expected, atol=1e-6)
    right = alignment(Paths(jnp.zeros_like(hr) + other[None], hr + other[None], other[None] + other[None]))
    np.testing.assert_allclose(right, 0, atol=1e-6)
    assert np.isnan(alignment(Paths(lr + 1, hr, lr + 1))).all()


def test_noise_of_ones_own_lines_up_any_two_images() -> None:
    cosines = {
        kind: alignment(paths(lambda x, step: 0.1 * x, FOUR, 0.2 * LR, 0.2 * HR, NOISE, reference=kind))[3].min()
        for kind in ("diffusion", "oracle")
    }
    assert cosines["diffusion"] > 0.9 > cosines["oracle"]


def test_guidance_lines_up_with_itself_and_noise_with_nothing() -> None:
    values = np.random.default_rng(0).standard_normal((2, 64, 64, 3))
    np.testing.assert_allclose(cosine(values, -2 * values), -1)
    assert np.abs(cosine(values, values[::-1])).max() < 0.04
    assert np.isnan(cosine(values, 0 * values)).all()


def test_the_plane_of_paths_that_lie_in_one() -> None:
    generator = np.random.default_rng(0)
    basis, _ = np.linalg.qr(generator.standard_normal((8 * 8 * 3, 2)))
    points = generator.standard_normal((3, 5, 2))
    flat = jnp.asarray(points @ basis.T, jnp.float32).reshape(3, 5, 1, 8, 8, 3)
    plane = pca_plane(Paths(*flat))
    assert plane.explained[:2].sum() == pytest.approx(1, abs=1e-6)
    found = np.stack([plane.points[name] for name in ("sr", "hr", "lr")]).reshape(15, 2)
    distances = lambda p: np.linalg.norm(p[:, None] - p[None], axis=-1)  # noqa: E731
    np.testing.assert_allclose(distances(found), distances(points.reshape(15, 2)), atol=1e-5)


@pytest.mark.parametrize(("reference", "share"), [("diffusion", 0.979), ("oracle", 0.953)])
def test_three_equal_images_lie_as_near_to_a_plane_as_those_of_a_study(reference, share) -> None:
    """The share in docs/findings.md comes from the noise: a network and images of zeros have it too."""
    schedule = exponential_schedule(60, min_noise_level=0.02).select(np.array([0, 20, 39, 59]))
    nothing = jnp.zeros((1, 48, 48, 3))
    noise = normal_noise(jax.random.key(0), 4, nothing.shape)
    found = paths(lambda x, step: 0 * x, schedule, nothing, nothing, noise, reference=reference)
    assert pca_plane(found).explained[:2].sum() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_white_noise_has_its_variance_at_every_frequency(size: tuple[int, int]) -> None:
    noise = 3 + 0.5 * np.random.default_rng(0).standard_normal((40, *size, 3))
    found = radial_spectrum(noise, bins=8)
    np.testing.assert_allclose(found.power.mean(0), 0.25, rtol=0.06)
    np.testing.assert_allclose(found.frequency, (np.arange(8) + 0.5) / 16)


def test_a_wave_has_its_power_in_its_ring_alone() -> None:
    x = np.arange(64)
    wave = np.broadcast_to(np.cos(2 * np.pi * 20 / 64 * x)[None, None, :, None], (1, 64, 64, 3))
    power = radial_spectrum(wave, bins=16).power[0]
    assert power.argmax() == int(20 / 64 * 2 * 16)
    assert np.sort(power)[-2] < 1e-20
