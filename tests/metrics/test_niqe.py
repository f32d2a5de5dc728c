"""Test NIQE against an oracle in float64, samples of known distributions, and known properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import io, ndimage
from scipy.special import gamma

from jaxsr.metrics import niqe_model
from jaxsr.metrics.niqe import _fit_aggd, block_sharpness, niqe, niqe_features, niqe_luma
from jaxsr.metrics.niqe_model import NiqeModel, bundled_niqe_model, load_niqe_model, make_niqe_model
from tests.metrics import niqe_oracle

jitted = jax.jit(niqe, static_argnames=("border", "luma"))
features_of, sharpness_of = jax.jit(niqe_features), jax.jit(block_sharpness)


def published() -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and covariance in the bundled file."""
    with np.load(niqe_model.BUNDLED) as file:
        return file["mu_pris_param"], file["cov_pris_param"]


@pytest.fixture(scope="module")
def photo(request) -> np.ndarray:
    """Return the committed photograph of two blocks, in [0,1]."""
    return np.asarray(Image.open(request.config.rootpath / "examples" / "parrots.png"), np.float32)[None] / 255


def textures() -> np.ndarray:
    """Return two images of 2 x 3 blocks and a rest, 8 bits in [0,1]: fine and coarse texture."""
    rng = np.random.default_rng(0)
    noise = np.stack([ndimage.gaussian_filter(rng.normal(size=(200, 300, 3)), (s, s, 0)) * s for s in (0.6, 1.5)])
    return np.rint(255 * np.clip(0.5 + 0.3 * noise, 0, 1)).astype(np.float32) / 255


def luma_of(x: np.ndarray, kind: str) -> np.ndarray:
    """Return the luma in whole grey levels, in float64."""
    weights, offset = ([65.481, 128.553, 24.966], 16) if kind == "ycbcr" else ([76.245, 149.685, 29.07], 0)
    return np.round((x.astype(np.float64) * weights).sum(axis=-1) + offset)


@pytest.mark.parametrize("luma", ["ycbcr", "grey"])
def test_niqe_is_that_of_the_oracle(luma):
    x = textures()
    ours = jitted(jnp.asarray(x), luma=luma)
    expected = [niqe_oracle.score(y, *published()) for y in luma_of(x, luma)]
    np.testing.assert_allclose(ours, expected, rtol=1e-3)


def test_features_and_sharpness_are_those_of_the_oracle():
    luma = luma_of(textures(), "grey")
    x = jnp.asarray(luma[..., None], jnp.float32)
    np.testing.assert_allclose(features_of(x), [niqe_oracle.features(y) for y in luma], atol=2e-3)
    np.testing.assert_allclose(sharpness_of(x), [niqe_oracle.sharpness(y) for y in luma], rtol=1e-4)


@pytest.mark.parametrize(("shape", "left", "right"), [(2.0, 1.0, 1.0), (1.0, 0.5, 1.5), (0.5, 2.0, 1.0)])
def test_aggd_of_its_own_samples_is_found(shape, left, right):
    rng, n = np.random.default_rng(0), 400_000
    sizes = rng.gamma(1 / shape, size=n) ** (1 / shape)
    x = np.where(rng.uniform(size=n) < left / (left + right), -left * sizes, right * sizes)
    expected = shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right
    found = _fit_aggd(jnp.asarray(x, jnp.float32)[None, None, None])
    np.testing.assert_allclose(np.ravel(found), expected, rtol=0.05, atol=0.02)


def test_niqe_of_a_photo_is_that_of_the_oracle_and_grows_with_blur_and_noise(photo):
    blurred = [ndimage.gaussian_filter(photo, (0, s, s, 0)) for s in (0, 1, 2, 3)]
    noise = np.random.default_rng(0).normal(size=photo.shape).astype(np.float32)
    noisy = [np.clip(photo + s * noise, 0, 1) for s in (0, 0.05, 0.1, 0.2)]
    for series in (blurred, noisy):
        scores = jitted(jnp.asarray(np.concatenate(series)))
        assert (np.diff(scores) > 0).all()
        assert scores[0] == pytest.approx(niqe_oracle.score(luma_of(photo, "ycbcr")[0], *published()), rel=1e-3)


def test_features_do_not_see_brightness_and_keep_their_order_when_blocks_change_places():
    luma = luma_of(textures(), "grey")[..., None].astype(np.float32)
    plain = np.asarray(features_of(jnp.asarray(luma)))
    np.testing.assert_allclose(features_of(jnp.asarray(luma + 20)), plain, atol=2e-3)
    np.testing.assert_allclose(features_of(jnp.asarray(luma[::-1])), plain[::-1], atol=1e-5)
    assert np.abs(plain[0] - plain[1]).max() > 0.1


def test_vmap_gives_the_numbers_of_the_batch():
    x = jnp.asarray(textures())
    by_one = jax.jit(jax.vmap(lambda image: niqe(image[None])[0]))(x)
    np.testing.assert_allclose(by_one, jitted(x, luma="ycbcr"), rtol=1e-4)


def test_the_border_is_left_out():
    x = textures()
    inner = [niqe_oracle.score(y[4:-4, 4:-4], *published()) for y in luma_of(x, "ycbcr")]
    x[:, :4] = 0
    np.testing.assert_allclose(jitted(jnp.asarray(x), border=4), inner, rtol=1e-3)
    assert not np.allclose(jitted(jnp.asarray(x), luma="ycbcr"), inner, rtol=1e-2)


def test_another_model_gives_another_number_and_its_own_features_0():
    x = jnp.asarray(textures())
    mean, covariance = published()
    wide = make_niqe_model(mean, 4 * covariance)
    assert (np.asarray(jitted(x, wide)) < np.asarray(jitted(x, luma="ycbcr"))).all()
    own = features_of(niqe_luma(x, "ycbcr"))[0].mean(axis=0)
    assert jitted(x, make_niqe_model(np.asarray(own), covariance))[0] == pytest.approx(0, abs=0.02)


def test_flat_blocks_do_not_count_and_a_flat_image_is_nan():
    half = textures()
    half[:, :, 96:] = 0.5  # the third column of blocks is flat, the second nearly
    features = np.asarray(features_of(niqe_luma(jnp.asarray(half), "ycbcr"))).reshape(2, 2, 3, 36)
    assert np.isnan(features[:, :, 2]).any(axis=-1).all()
    assert np.isfinite(features[:, :, 0]).all()
    both = jitted(jnp.asarray(np.stack([half[0], np.full_like(half[0], 0.5)])), luma="ycbcr")
    assert np.isfinite(both[0])
    assert np.isnan(both[1])


@pytest.mark.parametrize(("h", "w", "border"), [(96, 191, 0), (192, 96, 1), (96, 192, -1)])
def test_fewer_than_two_blocks_are_refused(h, w, border):
    with pytest.raises(ValueError, match=f"{h} x {w} pixels and border {border}: NIQE needs"):
        niqe(jnp.zeros((1, h, w, 3)), border=border)


def test_an_unknown_luma_and_grey_images_are_refused():
    with pytest.raises(ValueError, match="'hsv' is not known"):
        niqe_luma(jnp.zeros((1, 8, 8, 3)), "hsv")
    with pytest.raises(ValueError, match="1 channels"):
        niqe(jnp.zeros((1, 96, 192, 1)))


def test_the_luma_is_in_whole_grey_levels():
    rgb = jnp.asarray([[[[0, 0, 0], [1, 1, 1], [1, 0, 0]]]], jnp.float32)
    np.testing.assert_array_equal(niqe_luma(rgb, "ycbcr")[0, 0, :, 0], [16, 235, 81])
    np.testing.assert_array_equal(niqe_luma(rgb, "grey")[0, 0, :, 0], [0, 255, 76])


def write_npz(path, mean, covariance):
    np.savez(path, mu_pris_param=mean, cov_pris_param=covariance, gaussian_window=np.ones((7, 7)) / 49)


def write_mat(path, mean, covariance):
    io.savemat(path, {"mu_prisparam": mean, "cov_prisparam": covariance})


@pytest.mark.parametrize(("name", "write"), [("niqe_pris_params.npz", write_npz), ("modelparameters.mat", write_mat)])
def test_published_parameter_files_are_read(tmp_path, name, write):
    mean, covariance = published()
    write(tmp_path / name, mean[None], covariance)  # the published means are 1 x 36
    model = load_niqe_model(tmp_path / name)
    np.testing.assert_allclose(model.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(model.whitening @ covariance @ model.whitening.T, np.eye(36), atol=1e-3)


@pytest.mark.parametrize(
    ("mean", "covariance", "problem"),
    [
        (np.zeros(36), np.diag(np.arange(36.0)), "singular"),
        (np.zeros(36), np.full((36, 36), np.nan), "not finite"),
        (np.zeros(35), np.eye(35), "does not have 36 features"),
    ],
)
def test_models_of_no_use_are_refused_with_the_file(tmp_path, mean, covariance, problem):
    write_npz(tmp_path / "model.npz", mean, covariance)
    with pytest.raises(ValueError, match=rf"model\.npz: .*{problem}"):
        load_niqe_model(tmp_path / "model.npz")


@pytest.mark.parametrize("name", ["model.npz", "model.mat"])
def test_files_that_are_no_models_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(ValueError, match="give a NIQE parameter file"):
        load_niqe_model(tmp_path / name)
    with pytest.raises(OSError, match=name):
        load_niqe_model(tmp_path / f"none-{name}")
    (io.savemat if name.endswith("mat") else lambda path, arrays: np.savez(path, **arrays))(
        tmp_path / name, {"other": np.zeros(3)}
    )
    with pytest.raises(ValueError, match="no mu_pris_param and cov_pris_param or mu_prisparam"):
        load_niqe_model(tmp_path / name)


def test_the_bundled_model_is_a_constant_of_a_traced_function():
    bundled_niqe_model.cache_clear()
    assert jax.eval_shape(niqe, jax.ShapeDtypeStruct((2, 96, 192, 3), jnp.float32)).shape == (2,)
    assert isinstance(bundled_niqe_model(), NiqeModel)
    assert isinstance(bundled_niqe_model().mean, np.ndarray)
