"""Test the instruments against closed forms, on a model whose network is the Gaussian world's exact denoiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.choices import SAMPLERS
from jaxsr.diffusion import exponential_schedule, thin
from jaxsr.guidance.moments import moments
from jaxsr.models.model import Model
from jaxsr.numerics import regression
from jaxsr.numerics.gaussian_world import GaussianWorld
from jaxsr.numerics.instruments import INSTRUMENTS, Setup, UnfitError
from jaxsr.numerics.report import plot, write_report
from jaxsr.numerics.tables import TABLES
from jaxsr.numerics.truncation import rows_of
from tests.small_model import small_preset

WORLD = GaussianWorld(m=0.1, s=0.15, y=-0.1)
FINE = exponential_schedule(60)


class WorldModel(Model):
    """A model whose latents are its images and whose network is exact."""

    def encode(self, params, image):
        return image

    def decode(self, params, latent):
        return latent

    def encode_lr(self, params, lr):
        return jnp.full((1, 40, 40, 3), WORLD.y)

    def denoiser(self, params, schedule, z_lr, lq, mask=None):
        return WORLD.denoiser(schedule)


def setup_for(steps: int, fine=FINE) -> Setup:
    coarse = thin(fine, steps)
    compared = [coarse, *([fine] if steps < fine.steps else [])]
    model = WorldModel(small_preset())
    rows = rows_of(fine, coarse)
    return Setup(model=model, fine=fine, rows=rows, sampler="ancestral", compared=compared, scales=(0.1,), draws=2)


@pytest.fixture(scope="module")
def tables() -> dict:
    """Return all tables of three images of the Gaussian world."""
    setup, found = setup_for(4), {}
    images = np.random.default_rng(0).standard_normal((3, 1, 40, 40, 3)).astype(np.float32)
    hr = ((WORLD.m + WORLD.s * images) + 1) / 2
    for name, instrument in INSTRUMENTS.items():
        measure = instrument(setup)
        parts = [measure({}, one[:, ::4, ::4], one, jax.random.key(i)) for i, one in enumerate(hr.astype(np.float32))]
        found |= TABLES[name](setup, parts)
    return found


def of(rows, **wanted) -> list:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_modular_and_cumulative_errors_are_the_worlds(tables) -> None:
    coarse = thin(FINE, 4)
    left = WORLD.s**2 * WORLD.kappa**2 * coarse.eta / WORLD.marginal(coarse.eta)[1]
    rows = of(tables["modular"], states="forward")
    np.testing.assert_allclose([row["mean"] for row in rows], coarse.loss_weight * left, rtol=0.1)
    assert all(row["low"] <= row["mean"] <= row["high"] and row["images"] == 3 for row in rows)
    last = of(tables["cumulative"], **{"t-1": 0})[0]
    ratio = WORLD.moments(coarse).variance[-1] / WORLD.s**2
    gap = WORLD.moments(coarse).mean[-1] - WORLD.m
    expected = (ratio - 1 - np.log(ratio) + gap**2 / WORLD.s**2) / 2
    assert (last["dimension"], last["patches"]) == (48, 3 * 100)
    assert last["mean"] > last["floor"]
    assert all(row["low"] <= row["mean"] <= row["high"] for row in tables["cumulative"])
    assert last["mean"] == pytest.approx(expected + last["floor"], rel=0.25)


def test_images_without_a_covariance_have_no_cumulative_error() -> None:
    measure = INSTRUMENTS["errors"](setup := setup_for(4))
    flat = np.full((1, 40, 40, 3), 0.5, np.float32)
    part = measure({}, flat[:, ::4, ::4], flat, jax.random.key(0))
    rows = TABLES["errors"](setup, [part, part])
    assert np.isnan(rows["cumulative"][0]["mean"])
    assert np.isfinite(rows["cumulative"][0]["floor"])
    assert np.isfinite(rows["modular"][0]["mean"])


def test_truncation_is_the_closed_forms_and_has_its_orders(tables) -> None:
    for sampler, order in zip(SAMPLERS, (1, 2, 3), strict=True):
        rows = of(tables["order"], sampler=sampler)
        assert np.isnan(rows[0]["order"])
        assert rows[1]["order"] == pytest.approx(order, abs=0.5)
        assert [row["rows"] for row in rows] == [4, 8, 16, 32]
        assert all(row["order_low"] < row["order"] < row["order_high"] for row in rows[1:])
    euler = of(tables["truncation"], sampler="deterministic")
    assert euler[0]["mean"] < 1e-6  # t = 1: no finer time exists
    for row in euler[1:]:
        assert row["reference_gap"] < row["mean"] < row["moved"]


def test_the_regression_finds_the_worlds_linear_law(tables) -> None:
    rows = of(tables["regression"], sampler="deterministic", reference="lr")
    assert {row["t"] for row in rows} == {2, 3, 4}
    assert len(rows) == 8 * 3
    assert all(row["r2"] > 0.98 and row["removed_outside"] > 0.98 for row in rows)
    hr = of(tables["regression"], sampler="deterministic", reference="hr", through="mean", reference_mean="clean")
    assert all(row["r2"] < 0.98 for row in hr if row["t"] == 2)
    for row in [*rows, *hr]:
        assert 0 <= row["r2_low"] <= row["r2"] + 1e-6
        assert row["r2"] - 1e-6 <= row["r2_high"] <= 1


def test_the_interval_of_r2_covers_the_true_one() -> None:
    """Of 60 studies of twelve images, whose error is half the correction's and half noise of its own."""
    random, inside, widths = np.random.default_rng(0), 0, []
    (gradient,) = regression.GRADIENTS[:1]
    for _ in range(60):
        s = random.normal(size=(1, 12, 4, 4, 3)).astype(np.float32)
        error = s + random.normal(size=s.shape).astype(np.float32)
        sums = jax.tree.map(np.asarray, jax.vmap(lambda e, x: moments(e, x, jnp.ones_like(e)))(error, s))
        (row,) = regression.table({gradient: sums}, np.ones(1))
        inside += row["r2_low"] < 0.5 < row["r2_high"]
        widths.append(row["r2_high"] - row["r2_low"])
    assert inside >= 52
    assert max(widths) < 0.3


def test_paths_and_spectra(tables) -> None:
    assert {row["reference"] for row in tables["alignment"]} == {"diffusion", "inversion", "oracle"}
    assert all(-1 <= row["mean"] <= 1 for row in tables["alignment"])
    white = [row["hr"] for row in tables["spectrum"] if np.isfinite(row["hr"])]
    np.testing.assert_allclose(np.mean(white), (WORLD.s / 2) ** 2, rtol=0.2)
    assert {row["path"] for row in tables["plane"]} == {"sr", "hr", "lr"}
    kept = WORLD.moments(thin(FINE, 4)).variance[-1] / WORLD.s**2  # white noise again, of less variance
    shares = [row for row in tables["spectrum"] if np.isfinite(row["share"])]
    np.testing.assert_allclose(np.mean([row["share"] for row in shares]), kept, rtol=0.1)
    inside = [row["low"] < kept < row["high"] for row in shares]
    assert np.mean(inside) > 0.75
    assert all(row["high"] - row["low"] < 1 for row in shares)


def test_dispersion_rises_with_steps_and_with_guidance(tables) -> None:
    ratio = {(row["steps"], row["scale"]): row["ratio"] for row in tables["dispersion"]}
    expected = WORLD.moments(thin(FINE, 4)).variance[-1] / WORLD.s**2
    assert ratio[4, 0.0] == pytest.approx(expected, rel=0.15)
    assert ratio[4, 0.0] < ratio[4, 0.1] < ratio[60, 0.0]
    swd = {(row["steps"], row["scale"]): row["swd"] for row in tables["front"]}
    assert swd[60, 0.0] < swd[4, 0.1] < swd[4, 0.0]
    for row in tables["front"]:
        assert all(row[f"{name}_low"] < row[name] < row[f"{name}_high"] for name in ("mse", "psnr", "swd", "hf"))
        assert row["psnr_high"] - row["psnr_low"] < 1


def test_a_schedule_without_a_finer_one_has_no_reference() -> None:
    with pytest.raises(UnfitError, match="knows 4 steps, too few for a reference of 4 steps"):
        INSTRUMENTS["truncation"](setup_for(4, exponential_schedule(4)))


def test_the_report_is_one_page_that_needs_no_other_file(tables, tmp_path, monkeypatch) -> None:
    pytest.importorskip("matplotlib")
    first, *others = write_report(tmp_path / "deep", tables, {"model": "<world>"}, ["Left out: nothing."])
    page = first.read_text()
    assert first.name == "report.html"
    assert page.count('src="data:image/svg+xml;base64,') == len(tables) == 10
    assert page.count("src=") == 10
    assert "href" not in page
    assert "&lt;world&gt;" in page
    assert "Left out: nothing." in page
    assert {path.name for path in others} == {f"{name}.{kind}" for name in tables for kind in ("csv", "svg")}
    csv = (tmp_path / "deep" / "regression.csv").read_text().splitlines()
    assert csv[0].startswith("sampler,reference,through,reference_mean,reference_variance,t,eta,slope,offset,r2,cosine")
    assert len(csv) == 1 + len(tables["regression"])
    assert not list((tmp_path / "deep").glob(".*"))


def test_without_matplotlib_there_are_tables_and_a_sentence(tables, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError):
        plot("front", tables["front"])
    page = write_report(tmp_path, {"front": tables["front"]}, {})[0].read_text()
    assert "they need matplotlib" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["front.csv", "report.html"]
