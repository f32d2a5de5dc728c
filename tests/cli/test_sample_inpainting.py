"""Test inpainting through the sample command: masks by name, known pixels in files, sidecars, refusals."""

import json
import shlex
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from jaxsr.cli import sample
from jaxsr.imaging import noise
from jaxsr.storage import sha256_file
from tests.parity.inpainting_model import golden_chain, golden_noise, save_golden
from weight_conversion.tolerances import TOLERANCES

RNG = np.random.default_rng(1)
WHITE = np.zeros((64, 64), np.uint8)
WHITE[10:30, 20:50] = 255


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_golden(tmp_path_factory.mktemp("inpaint"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Make a folder with two images, and their masks in a folder of its own; one mask has another extension."""
    monkeypatch.chdir(tmp_path)
    for name in ("in", "masks"):
        Path(name).mkdir()
    for name, suffix in (("a", ".png"), ("b", ".webp")):
        Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(f"in/{name}.png")
        Image.fromarray(WHITE).convert("RGB").save(f"masks/{name}{suffix}", lossless=True)
    return tmp_path


def run(model: Path, words: str) -> int:
    return sample.main(["-n", str(model), *words.split()])


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_golden_chain_through_the_command(model, tmp_path, monkeypatch):
    """The input is a file of 16 bits; its rounding is small enough to leave most of the autoencoder's codes alone."""
    chain, peak = golden_chain(), 65535
    monkeypatch.chdir(tmp_path)
    image = np.rint((chain["lr"][0] + 1) / 2 * peak).astype(np.uint16)
    Path("x.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))
    Image.fromarray(((chain["mask"][0, ..., 0] + 1) / 2 * 255).astype(np.uint8)).save("m.png")
    monkeypatch.setattr(noise, "chain_noise", golden_noise)
    assert run(model, "-i x.png --mask m.png -o out") == 0
    result = imagecodecs.png_decode(Path("out/x.png").read_bytes())
    filled = np.clip((chain["decoded"][0] + 1) / 2, 0, 1)
    unknown = chain["mask"][0, ..., 0] == 1
    np.testing.assert_array_equal(result[~unknown], image[~unknown])
    error = np.abs(result[unknown] / peak - filled[unknown])
    assert np.median(error) <= 2 * TOLERANCES["chain"]
    assert (error > 100 * TOLERANCES["chain"]).mean() < 0.1  # where a code flips


def test_every_image_of_a_folder_gets_the_mask_of_its_name(model, folder, capsys):
    assert run(model, "-i in/ --mask masks/") == 0
    printed = capsys.readouterr().out
    assert "2 made" in printed
    assert "LR-consistency" not in printed  # it would compare what was to be replaced
    for name in ("a", "b"):
        before, after = pixels(f"in/{name}.png"), pixels(f"out/{name}.png")
        np.testing.assert_array_equal(after[WHITE == 0], before[WHITE == 0])
        assert (after[WHITE > 0] != before[WHITE > 0]).mean() > 0.9
        record = json.loads(Path(f"out/{name}.png.json").read_text())
        assert record["lr_consistency_db"] is None
        mask = next((folder / "masks").glob(f"{name}.*"))
        assert record["requested"]["mask"] == sha256_file(mask)
    again = shlex.split(record["command"])[3:]
    assert sample.main(again) == 0
    assert "0 made, 1 there already" in capsys.readouterr().out
    Image.fromarray(255 - WHITE).save("masks/a.png")
    assert run(model, "-i in/ --mask masks/") == 3  # another mask is another result
    assert "a.png exists, but was made from another input or with other options" in capsys.readouterr().err


@pytest.mark.slow
def test_one_mask_for_all_with_a_strip_and_grey(model, folder):
    Image.fromarray(RNG.integers(0, 256, (64, 64), np.uint8)).save("in/a.png")
    assert run(model, "-i in/a.png in/b.png --mask masks/a.png --strip 0,0.2") == 0
    strip = pixels("out/b_strip.png")
    panels = [strip[14:, left : left + 64] for left in (0, 68)]
    for panel in panels:
        np.testing.assert_array_equal(panel[WHITE == 0], pixels("in/b.png")[WHITE == 0])
    assert (panels[0] != panels[1])[WHITE > 0].mean() > 0.3
    assert run(model, "-i in/a.png --mask masks/a.png") == 0
    assert pixels("out/a.png").shape == (64, 64)
    np.testing.assert_array_equal(pixels("out/a.png")[WHITE == 0], pixels("in/a.png")[WHITE == 0])


def test_masks_mirror_the_tree_and_a_photograph_is_not_its_own_mask(model, folder):
    """Nothing is computed: all masks are black. The results of JPEG files are PNG, which keeps their pixels."""
    for place, shade in (("x", 0), ("y", 1)):
        Path(f"in/{place}").mkdir()
        Path(f"masks/{place}").mkdir()
        Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(f"in/{place}/c.jpg")
        Image.fromarray(np.zeros((64, 64 + 8 * shade), np.uint8)).save(f"masks/{place}/c.png")
    assert run(model, "-i in --mask masks -r -o out2 --dry-run") == 3  # the mask in y/ has another size
    assert run(model, "-i in/x --mask masks/x") == 0
    np.testing.assert_array_equal(pixels("out/c.png"), pixels("in/x/c.jpg"))
    Image.fromarray(np.zeros((64, 64), np.uint8)).save("in/x/c.png")
    assert run(model, "-i in/x/c.jpg --mask in/x -o out3") == 0
    np.testing.assert_array_equal(pixels("out3/c.png"), pixels("in/x/c.jpg"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("-i in/a.png", 1, "mask: the model verified fills in the part of an image that a mask marks; give the mask"),
        ("-i in/a.png --mask none", 1, "--mask: there is no none; check the name"),
        ("-i in/a.png --mask small.png", 3, "mask: must be 64x64 pixels, as the image is, but is 8x8"),
        ("-i in/a.png --mask in.txt", 3, "in.txt"),
        ("-i in/ --mask one/", 3, "--mask: one has no mask of the name b for in/b.png; give one image of this name"),
        ("-i in/a.png --mask two/", 3, "--mask: two has several masks of the name a for in/a.png"),
    ],
)
def test_a_mask_that_does_not_fit_is_one_sentence(model, folder, capsys, words, code, message):
    Image.fromarray(WHITE[:8, :8]).save("small.png")
    Path("in.txt").write_text("no image")
    for name, files in {"one": ("a.png",), "two": ("a.bmp", "a.webp")}.items():
        Path(name).mkdir()
        for file in files:
            Image.fromarray(WHITE).save(Path(name) / file)
    assert run(model, words) == code
    assert run(model, f"{words} --dry-run") == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
