"""Test the sample command on every kind of image: what its result keeps, and how it reports what is lost."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from jaxsr.batch.enlarge import losses
from jaxsr.imaging.colour import ADOBE, make_profile
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.sixteen_bit import encode_png16
from tests.cli.sampling import picture, read_pixels, run, sidecar
from tests.small_model import enlarged

pytestmark = pytest.mark.usefixtures("model")


def test_orientation_profile_and_exif_come_through(exact, tmp_path):
    exif = Image.Exif()
    exif[274], exif[315] = 6, "A. Photographer"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = picture(tmp_path / "a.png", (5, 3), exif=exif, icc_profile=profile)
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    np.testing.assert_array_equal(read_pixels(tmp_path / "out/a.png"), enlarged(np.rot90(pixels, -1)))
    with Image.open(tmp_path / "out/a.png") as result:
        assert result.info["icc_profile"] == profile
        assert (result.getexif()[274], result.getexif()[315]) == (1, "A. Photographer")


def test_transparency_is_enlarged_and_darkens_no_edge(exact, tmp_path):
    pixels = np.zeros((6, 8, 4), np.uint8)
    pixels[:, 4:] = (250, 120, 60, 255)  # hidden pixels are black, as most programs write them
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    result = read_pixels(tmp_path / "out/a.png")
    assert result.shape == (24, 32, 4)
    assert (result[..., :3] == (250, 120, 60)).all()
    assert result[:, 0, 3].max() == 0
    assert result[:, -1, 3].min() == 255
    assert (np.diff(result[:, 10:22, 3].astype(int), axis=1) >= 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_stay_sixteen_bits(exact, tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 65536, (4, 5, channels), np.uint16)
    (tmp_path / "a.png").write_bytes(encode_png16(pixels, None, None))
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    photo = read_photo(tmp_path / "out/a.png")
    assert (photo.depth, photo.grey) == (16, channels == 1)
    np.testing.assert_array_equal(np.rint(photo.rgb * 65535)[..., :channels], enlarged(pixels))


def test_metadata_too_long_for_jpeg_is_told(exact, tmp_path, capsys):
    exif = Image.Exif()
    exif[315] = "A" * 70_000
    picture(tmp_path / "a.png", exif=exif)
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out", "--ext", "jpg") == 0
    assert "note: 1 image lost its EXIF (too long for JPEG)" in capsys.readouterr().out
    assert "The image lost its EXIF (too long for JPEG)." in sidecar(tmp_path / "out/a.jpg")["notes"]
    assert read_photo(tmp_path / "out/a.jpg").exif is None


def test_what_an_image_loses_is_told_once_and_in_its_sidecar(exact, tmp_path, capsys):
    for name, alpha in (("a", 255), ("b", 0), ("c", 254)):
        Image.new("RGBA", (4, 4), (10, 20, 30, alpha)).save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_bytes(encode_png16(np.full((4, 4, 3), 700, np.uint16), None, None))
    Image.new("CMYK", (4, 4), (10, 20, 30, 0)).save(tmp_path / "e.jpg")
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for name in ("f.gif", "g.tif", "h.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    deep = Image.fromarray(np.zeros((4, 4), np.uint16))
    deep.save(tmp_path / "i.tif")
    deep.save(tmp_path / "j.tif", save_all=True, append_images=[deep])
    words = ["-i", *sorted(tmp_path.iterdir()), "-o", tmp_path / "out"]

    assert run(*words, "--ext", "jpg", "--n-samples", 2) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: 2 images lost transparency (JPEG cannot hold it)",
        "note: 3 images lost depth beyond 8 bits a channel (JPEG cannot hold it)",
        "note: 1 image lost its CMYK colours (made sRGB, at 8 bits)",
        "note: 4 images lost all frames but the first",
    ]
    recorded = {name: sidecar(tmp_path / f"out/{name}_0.jpg")["notes"] for name in "abc"}
    lost = ["The image lost transparency (JPEG cannot hold it)."]
    assert recorded == {"a": [], "b": lost, "c": lost}

    some = ["-i", tmp_path / "b.png", tmp_path / "d.png", "-o", tmp_path / "out"]
    assert run(*some) == 0
    assert "note: " not in capsys.readouterr().out
    assert run(*some, "--ext", "webp") == 0
    assert capsys.readouterr().out.endswith(
        "\nnote: 1 image lost depth beyond 8 bits a channel (WebP cannot hold it)\n"
    )
    strip = np.zeros((4, 4, 3), np.uint8)
    held = [losses(read_photo(path), strip, Path("a.png"), strip=True) for path in some[1:3]]
    reasons = ("transparency", "depth beyond 8 bits a channel")
    assert held == [(f"lost {reason} (a strip cannot hold it)",) for reason in reasons]


@pytest.mark.parametrize(("grey", "fits"), [(False, True), (True, False)])
def test_a_profile_of_other_pixels_is_told(tmp_path, grey, fits):
    icc = make_profile(ADOBE, 2.2, grey=grey)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png", icc_profile=icc)
    lost = losses(read_photo(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8), Path("a.png"), strip=False)
    assert lost == (() if fits else ("lost its colour profile, which is for another kind of pixels",))


@pytest.mark.parametrize(("mode", "limit"), [("L", 4.6), ("LA", 3.4), ("RGB", 2.3), ("RGBA", 2.3)])
def test_the_enlarged_image_is_held_once_in_its_own_depth(exact, tmp_path, mode, limit):
    """The run also holds the input and some bands as float RGB. They weigh more where the result has fewer channels."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 8, 4), np.uint8))
    noise.resize((64, 1024)).convert(mode).save(tmp_path / "a.png")  # compresses about as well as a photograph
    words = ["-i", tmp_path / "a.png", "-o", tmp_path / "out", "--tile", "32", "--overwrite"]
    assert run(*words) == 0
    tracemalloc.start()
    assert run(*words) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit * 4096 * 256 * len(mode)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_grey_and_narrow_pictures(exact, tmp_path, size):
    Image.new("L", size, 77).save(tmp_path / "a.png")
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    result = read_pixels(tmp_path / "out/a.png")
    assert result.shape == (4 * size[1], 4 * size[0])  # one channel
    assert set(result.ravel()) == {77}


def test_as_much_metadata_as_was_asked_for_and_it_decides_the_result(exact, tmp_path, capsys):
    exif = Image.Exif()
    exif[271], exif[315] = "Camera", "A. Photographer"
    picture(tmp_path / "a.jpg", exif=exif)
    for level, kept in (("keep", {271, 315}), ("minimal", {315}), ("strip", set())):
        assert run("-i", tmp_path / "a.jpg", "-o", tmp_path / level, "--metadata", level) == 0
        with Image.open(tmp_path / f"{level}/a.jpg") as result:
            assert {271, 315} & result.getexif().keys() == kept
        assert (f"--metadata={level}" in sidecar(tmp_path / f"{level}/a.jpg")["command"]) == (level != "keep")
    assert run("-i", tmp_path / "a.jpg", "-o", tmp_path / "keep", "--metadata", "strip") == 3
    assert "exists, but was made from another input or with other options" in capsys.readouterr().err
