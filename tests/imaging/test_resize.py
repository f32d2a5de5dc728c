"""Test bicubic up- and downsampling against PyTorch, Pillow, JAX and the benchmarks' MATLAB images."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxsr.imaging.resize import (
    bicubic_matrix,
    downsample_bicubic,
    downsample_bicubic_uint8,
    project_onto,
    upsample_bicubic,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "bicubic_upsample.npz"


def photo(h: int, w: int, c: int = 3) -> np.ndarray:
    """Return smooth waves with an edge and some noise, uint8."""
    y, x = np.mgrid[:h, :w]
    wave = 127 + 80 * np.sin(0.3 * x[..., None] + np.arange(c)) * np.cos(0.2 * y[..., None]) + 40 * (x > y)[..., None]
    return np.clip(wave + np.random.default_rng(0).normal(0, 8, (h, w, c)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_upsampling_is_that_of_pytorch(case):
    with np.load(GOLDEN) as golden:
        x, y, scale = (golden[f"{case}/{k}"] for k in ("x", "y", "scale"))
    ours = upsample_bicubic(jnp.asarray(x.transpose(0, 2, 3, 1)), int(scale))
    np.testing.assert_allclose(ours, y.transpose(0, 2, 3, 1), rtol=0, atol=1e-6)


def test_upsampling_by_one_is_the_identity_and_by_zero_is_refused():
    x = jnp.asarray(photo(5, 6)[None] / 255, jnp.float32)
    np.testing.assert_allclose(upsample_bicubic(x, 1), x, atol=1e-7)
    with pytest.raises(ValueError, match="scale is 0"):
        upsample_bicubic(x, 0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downsampling_agrees_with_jax_and_pillow_away_from_the_border(scale):
    hr = photo(24 * scale, 16 * scale)
    inner = np.s_[3:-3, 3:-3]
    x = jnp.asarray(hr[None] / 255, jnp.float32)
    jaxs = jax.image.resize(x, (1, 24, 16, 3), "cubic", antialias=True, precision="highest")
    np.testing.assert_allclose(downsample_bicubic(x, scale)[0][inner], jaxs[0][inner], atol=2e-6)
    pillows = np.asarray(Image.fromarray(hr).resize((16, 24), Image.Resampling.BICUBIC), np.int64)
    assert np.abs(downsample_bicubic_uint8(hr, scale)[inner] - pillows[inner]).max() <= 1


@pytest.mark.parametrize(("border", "mode"), [("mirror", "symmetric"), ("clamp", "edge")])
def test_border_reads_pixels_as_padding_would(border, mode):
    signal = photo(20, 1)[:, 0, 0].astype(np.float64)
    padded = np.pad(signal, 16, mode=mode)
    wide = bicubic_matrix(padded.size, padded.size // 4) @ padded
    np.testing.assert_allclose(bicubic_matrix(20, 5, border) @ signal, wide[4:-4], atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(n_in=st.integers(1, 40), n_out=st.integers(1, 40), border=st.sampled_from(["mirror", "clamp"]))
def test_matrix_keeps_constants_and_commutes_with_reversal(n_in, n_out, border):
    matrix = bicubic_matrix(n_in, n_out, border)
    assert matrix.shape == (n_out, n_in)
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, atol=1e-12)


def test_matrix_reproduces_a_ramp_away_from_the_border():
    ramp = (np.arange(64) + 0.5) / 64
    np.testing.assert_allclose((bicubic_matrix(64, 16) @ ramp)[2:-2], (np.arange(16) + 0.5)[2:-2] / 16, atol=1e-12)


def test_floating_point_and_8_bit_paths_agree():
    hr = photo(48, 40)
    x = downsample_bicubic(jnp.asarray(hr[None], jnp.float32), 4)[0]
    ours = downsample_bicubic_uint8(hr, 4)
    assert ours.dtype == np.uint8
    assert np.abs(ours - np.clip(np.asarray(x), 0, 255)).max() <= 0.5 + 1e-4


def test_8_bit_convention_rounds_between_the_passes_over_clamped_borders():
    hr = photo(40, 48)
    rows, columns = bicubic_matrix(40, 10, "clamp"), bicubic_matrix(48, 12, "clamp")
    half = np.clip(np.floor(np.einsum("ph,hwc->pwc", rows, hr) + 0.5), 0, 255)
    full = np.clip(np.floor(np.einsum("qw,pwc->pqc", columns, half) + 0.5), 0, 255)
    ours = downsample_bicubic_uint8(hr, 4, convention="uint8")
    np.testing.assert_array_equal(ours, full)
    assert (ours != downsample_bicubic_uint8(hr, 4)).any()


def test_8_bit_image_is_cropped_at_the_bottom_and_the_right():
    hr = photo(43, 38, 1)
    np.testing.assert_array_equal(downsample_bicubic_uint8(hr, 4), downsample_bicubic_uint8(hr[:40, :36], 4))


def test_gradient_is_the_transposed_map():
    rng = np.random.default_rng(1)
    x, y = (
        jnp.asarray(rng.normal(size=(2, 16, 24, 3)), jnp.float32),
        jnp.asarray(rng.normal(size=(2, 4, 6, 3)), jnp.float32),
    )
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(downsample_bicubic(x, 4) * y)))(x)
    expected = np.einsum("ph,bpqc,qw->bhwc", bicubic_matrix(16, 4), y, bicubic_matrix(24, 6))
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize(("h", "w", "scale"), [(32, 48, 4), (36, 24, 3)])
def test_the_projection_is_the_nearest_image_that_reduces_to_the_lr_image(h, w, scale):
    x, other = jnp.asarray(photo(h, w)[None] / 255, jnp.float32), jnp.asarray(photo(w, h).swapaxes(0, 1)[None] / 255)
    lr = downsample_bicubic(other.astype(jnp.float32), scale)
    found = project_onto(x, lr, scale)
    np.testing.assert_allclose(downsample_bicubic(found, scale), lr, atol=2e-6)
    np.testing.assert_allclose(project_onto(found, lr, scale), found, atol=2e-6)
    np.testing.assert_allclose(project_onto(x, lr, scale, 0.25), 0.75 * x + 0.25 * found, atol=2e-6)
    # The oracle solves the whole problem at once: least norm of the change, with one big matrix.
    a = np.kron(bicubic_matrix(h, h // scale), bicubic_matrix(w, w // scale))
    rest = np.asarray(lr - downsample_bicubic(x, scale), np.float64)[0].reshape(len(a), -1)
    least, *_ = np.linalg.lstsq(a, rest, rcond=None)
    np.testing.assert_allclose(found[0], x[0] + least.reshape(h, w, -1), atol=1e-5)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="15 x 16 pixels cannot be shrunk by 4"):
        downsample_bicubic(jnp.zeros((1, 15, 16, 3)), 4)
    with pytest.raises(ValueError, match="crop it"):
        downsample_bicubic_uint8(photo(3, 16), 4)
    with pytest.raises(ValueError, match="LR images of 3 x 2 pixels do not fit 8 x 8 at scale 4"):
        project_onto(jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 3, 2, 3)), 4)


def differences(lr: Path, hr: Path, convention: str) -> np.ndarray:
    lr, hr = (np.atleast_3d(np.asarray(Image.open(p))) for p in (lr, hr))
    return np.abs(downsample_bicubic_uint8(hr, 4, convention).astype(int) - lr).ravel()


def test_low_resolution_images_of_set5_and_set14_are_met_exactly(shared):
    pairs = [line.split("\t") for line in (shared / "data/lrx4/PAIRS.tsv").read_text().splitlines()]
    assert len(pairs) == 19
    for lr, hr in pairs:
        assert differences(shared / "data" / lr, shared / "data" / hr, "uint8").max() == 0, hr


def test_low_resolution_images_of_the_bicubic_imagenet_set_are_met_but_for_ties(shared):
    files = sorted((shared / "data/resshift_bicubicx4/lq_matlab").glob("*.png"))
    found = np.concatenate([differences(p, p.parents[1] / "gt" / p.name, "double") for p in files])
    assert len(files) == 16
    assert found.max() <= 1
    assert np.mean(found > 0) < 1e-5
