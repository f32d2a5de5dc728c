"""Compare our metrics with the numbers that OSEDiff's authors published for nine results on RealSR."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import published_scores
from jaxsr.metrics.perceptual_files import present_path
from tests.metrics import niqe_oracle

PUBLISHED_NIQE = Path(__file__).parents[1] / "golden/niqe_pris_params.npz"
TOLERANCES = {"psnr": 1e-4, "ssim": 1e-4, "lpips": 1e-4, "dists": 1e-4, "niqe": 1e-2}
FLAT = "Nikon_035_LR4"
"""It has flat areas. The oracle in float64 keeps rounding errors there and is within 1e-2; ours has exact zeros."""


@pytest.fixture(scope="module")
def folders(shared):
    return shared / "reference/osediff_realsr", shared / "data/realsr_sub/HR"


@pytest.mark.parametrize("metric", TOLERANCES)
def test_our_numbers_are_the_published_ones(folders, metric):
    if metric == "dists" and present_path("dists") is None:
        pytest.skip("extra check: needs the weights of DISTS; run python -m jaxsr.cli.convert_lpips dists")
    results, hr = folders
    theirs = published_scores.published(results, [metric])
    assert len(theirs) == 9
    protocol = published_scores.protocol_with(PUBLISHED_NIQE)
    ours = published_scores.score(results, hr, list(theirs), [metric], protocol)
    if metric == "niqe":
        assert ours[FLAT]["niqe"] == pytest.approx(theirs.pop(FLAT)["niqe"], rel=3e-3)
    assert published_scores.worst(ours, theirs)[metric] <= TOLERANCES[metric]


def test_the_oracle_gives_the_published_niqe_of_the_flat_image_too(folders):
    results, _ = folders
    (file,) = results.rglob(f"{FLAT}*.png")
    luma = np.round(np.asarray(Image.open(file).convert("RGB")) @ (np.array([76.245, 149.685, 29.07]) / 255))
    with np.load(PUBLISHED_NIQE) as model:
        found = niqe_oracle.score(luma, model["mu_pris_param"].ravel(), model["cov_pris_param"])
    assert found == pytest.approx(published_scores.published(results, ["niqe"])[FLAT]["niqe"], abs=TOLERANCES["niqe"])


def test_the_settings_of_the_protocol_matter(folders):
    """Unrounded Y and signed contrast, as in other protocols, miss the published SSIM."""
    results, hr = folders
    theirs = published_scores.published(results, ["ssim"])
    for left_out in ("luma", "contrast"):
        protocol = published_scores.protocol_with(None)
        del (settings := dict(protocol.variant("ssim")))[left_out]
        changed = replace(protocol, variants={"ssim": settings})
        ours = published_scores.score(results, hr, list(theirs), ["ssim"], changed)
        assert published_scores.worst(ours, theirs)["ssim"] > 1e-3


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^--results: there is no file .*scores\.tsv"):
        published_scores.published(tmp_path, ["psnr"])
    (tmp_path / "scores.tsv").write_text("image\tPSNR\nb.png\t20\n")
    with pytest.raises(ValueError, match=r"^--results: .* has none of the images in scores\.tsv"):
        published_scores.published(tmp_path, ["psnr"])
    (tmp_path / "scores.tsv").write_text("image\tPSNR\na.png\t20\n")
    (tmp_path / "a.png").touch()
    assert published_scores.published(tmp_path, ["psnr"]) == {"a": {"psnr": 20.0}}
    with pytest.raises(ValueError, match=r"^--results: .*scores\.tsv has no column NIQE"):
        published_scores.published(tmp_path, ["niqe"])
    with pytest.raises(ValueError, match=r"^--hr: .* has 0 originals called a"):
        published_scores.score(tmp_path, tmp_path / "none", ["a"], ["psnr"], published_scores.protocol_with(None))
