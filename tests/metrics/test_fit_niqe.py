"""Test the command that fits NIQE's model, on a few small images."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxsr.cli.fit_niqe import main
from jaxsr.metrics.niqe_fit import fit, list_photos, sharp_features
from jaxsr.metrics.niqe_model import load_niqe_model
from tests.metrics import niqe_oracle


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Write four images of 4 x 4 blocks, two of them in a subfolder; only the lowest row of blocks is not sharp."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for k in range(4):
        rng = np.random.default_rng(k)
        x = ndimage.gaussian_filter(rng.normal(size=(384, 384, 3)), (0.7, 0.7, 0))
        x[288:] = ndimage.gaussian_filter(x[288:], (2, 2, 0))
        image = np.rint(255 * np.clip(0.5 + 0.3 * x, 0, 1)).astype(np.uint8)
        Image.fromarray(image).save(folder / ("more" if k % 2 else ".") / f"{k}.png")
    return folder


def test_sharp_blocks_are_those_of_the_oracle(photos):
    luma = np.round(np.asarray(Image.open(photos / "0.png"), np.float64) @ [65.481, 128.553, 24.966] / 255 + 16)
    sharpness = niqe_oracle.sharpness(luma)
    sharp = sharpness > 0.75 * sharpness.max()
    assert 0 < sharp.sum() < 16
    ours = sharp_features(photos / "0.png", 0.75, "ycbcr")
    np.testing.assert_allclose(ours, niqe_oracle.features(luma)[sharp], atol=2e-3)


def test_the_fit_is_mean_and_sample_covariance():
    x = np.random.default_rng(0).normal(size=(50, 36)).astype(np.float32)
    mean, covariance = fit(x)
    centred = x - x.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(covariance, centred.T @ centred / 49, atol=1e-6)


def test_the_command_writes_a_model(photos, tmp_path, capsys):
    output = tmp_path / "new" / "model.npz"
    assert main([str(photos), str(photos / "0.png"), "-o", str(output), "--threshold", "0", "--source", "noise"]) == 0
    assert "80 blocks of 5 photographs" in capsys.readouterr().out
    assert [path.name for path in output.parent.iterdir()] == ["model.npz"]
    assert str(np.load(output)["source"]) == "noise"
    assert load_niqe_model(output).mean.shape == (36,)


def test_every_option_counts(photos, tmp_path):
    means = []
    for options in (["--threshold", "0"], ["--threshold", "0", "--luma", "grey"], []):
        part = [str(photos), str(photos), "-o", str(tmp_path / "model.npz"), *options]
        assert main(part) == 0
        means.append(load_niqe_model(tmp_path / "model.npz").mean)
    assert np.abs(means[1] - means[0]).max() > 1e-3
    assert np.abs(means[2] - means[0]).max() > 1e-2


def test_the_command_refuses_in_one_sentence_and_writes_nothing(photos, tmp_path, capsys):
    small = tmp_path / "small.png"
    Image.new("RGB", (95, 200)).save(small)
    (tmp_path / "empty").mkdir()
    output = tmp_path / "model.npz"
    for images, options, problem in (
        (photos, ["--threshold", "1"], "threshold is 1.0"),
        (photos / "0.png", [], "sharp blocks: give more photographs"),
        (small, [], "small.png: is smaller than 96 x 96"),
        (tmp_path / "empty", [], "no image files"),
        (tmp_path / "none.png", [], "none.png"),
        (photos, ["-o", str(tmp_path / "model.mat")], "model.mat is not the name of an .npz file"),
    ):
        assert main([str(images), "-o", str(output), *options]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert problem in error
        assert not output.exists()


def test_folders_are_searched_below_and_files_kept_in_order(photos):
    names = [path.name for path in list_photos([photos / "2.png", photos])]
    assert names == ["2.png", "0.png", "2.png", "1.png", "3.png"]
