"""Test the size of results, crops, and corrected colours: what is made, recorded, said, resumed and refused."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.batch import enlarge as enlarge_module
from jaxsr.cli.sample import main
from jaxsr.imaging.colour_fix import colour_moments
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.lanczos import resize_into
from jaxsr.imaging.sixteen_bit import encode_png16
from jaxsr.upscaling.upscaler import Upscaler
from tests.cli.sampling import files, picture, read_pixels, run, sidecar
from tests.small_model import enlarged, nearest

pytestmark = pytest.mark.usefixtures("exact")


def resized(pixels: np.ndarray, size: tuple[int, int], dtype: type = np.uint8) -> np.ndarray:
    """Return what Lanczos makes of the network's exact result."""
    peak = np.iinfo(pixels.dtype).max
    out = np.empty((*size, *pixels.shape[2:]), dtype)
    resize_into(enlarged(pixels).astype(np.float32) / peak, out)
    return out


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "size", "note"),
    [
        ("--scale 2.5", (50, 75), "2.5 times the input"),
        ("-s 1", (20, 30), "1 times the input"),
        ("--scale 8", (160, 240), "8 times the input"),
        ("--width 100", (67, 100), "a width of 100"),
        ("--height 33", (33, 50), "a height of 33"),
        ("--width 60 --height 40", (40, 60), "a width of 60 and a height of 40"),
    ],
)
def test_the_network_enlarges_and_lanczos_resizes(words, size, note, capsys):
    pixels = picture(Path("a.png"), (30, 20))
    assert run("a.png", *words.split()) == 0
    np.testing.assert_allclose(read_pixels(Path("out/a.png")).astype(int), resized(pixels, size), atol=1)
    record = sidecar(Path("out/a.png"))
    assert record["size"] == [size[1], size[0]]
    assert record["resized"] == {"from": [120, 80], "by": "lanczos"}
    error = capsys.readouterr().err
    assert error == f"note: the network enlarges 4 times; Lanczos then resizes to {note}\n"
    assert run("a.png", *words.split()) == 0  # it is done
    assert main(shlex.split(record["command"])[3:]) == 0
    assert capsys.readouterr().out.count("0 made, 1 there already") == 2
    assert run("a.png") == 3  # another size is another result


@pytest.mark.parametrize("words", ["--scale 4", "--width 120", "--height 80"])
def test_the_networks_own_size_is_its_result_bit_by_bit(words):
    pixels = picture(Path("a.png"), (30, 20))
    assert run("a.png", *words.split()) == 0
    np.testing.assert_array_equal(read_pixels(Path("out/a.png")), enlarged(pixels))
    assert "resized" not in sidecar(Path("out/a.png"))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_alpha_and_grey_are_resized_too(mode):
    pixels = picture(Path("a.png"), (30, 20))
    shape = np.linspace(0, 255, 600).reshape(20, 30).astype(np.uint8)
    image = Image.fromarray(pixels).convert(mode.removesuffix("A") or "L")
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(shape))
    image.save("a.png")
    assert run("a.png", "--scale", 2) == 0
    result = read_pixels(Path("out/a.png"))
    assert result.shape[:2] == (40, 60)
    with Image.open("out/a.png") as found:
        assert found.mode == mode
    if mode.endswith("A"):
        wanted = np.asarray(Image.fromarray(shape.astype(np.float32)).resize((60, 40), Image.Resampling.LANCZOS))
        np.testing.assert_allclose(result[..., -1], np.clip(wanted, 0, 255), atol=0.51)


def test_sixteen_bits_stay_sixteen_bits():
    pixels = np.random.default_rng(0).integers(20000, 40000, (20, 30, 3), np.uint16)
    Path("a.png").write_bytes(encode_png16(pixels, None, None))
    assert run("a.png", "--scale", 3) == 0
    photo = read_photo("out/a.png")
    assert photo.depth == 16
    wanted = resized(pixels, (60, 90), np.uint16)
    np.testing.assert_allclose(np.rint(photo.rgb * 65535), wanted, atol=2)
    assert np.unique(wanted & 255).size > 200


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--scale 0.5", 2, "--scale: must be a number from 1 to 8, not '0.5'"),
        ("--scale 8.5", 2, "--scale: must be a number from 1 to 8"),
        ("--scale two", 2, "--scale: must be a number from 1 to 8"),
        ("--scale 2 --width 60", 2, "--width: --scale gives the size"),
        ("--scale 2 --height 60", 2, "--height: --scale gives the size"),
        ("--width 0", 2, "--width: must be a whole number of at least 1"),
        ("--width 20", 3, "a.png: width: 20 pixels are 0.667 times those of the image of 30x20; choose 30 to 240"),
        ("--width 60 --height 60", 3, "a.png: height: 60x60 has not the proportions"),
        ("--crop 0,0,31,2", 3, "a.png: crop: 0,0,31,2 is not inside of the image of 30x20"),
        ("--crop 0,0,0,2", 3, "crop: must be X,Y,WIDTH,HEIGHT with a width and a height"),
        ("--crop 0,0,2", 2, "--crop: must be X,Y,WIDTH,HEIGHT"),
        ("--crop 0,0,2,2 --reference a.png --reference-box 0,0,2,2", 2, "--crop: a reference is placed in the whole"),
        ("--colour-fix ycbcr", 2, "--colour-fix"),
        ("--mask a.png --scale 2", 2, "--scale: would change the pixels that --mask keeps"),
        ("--mask a.png --crop 0,0,2,2", 2, "--crop: would change the pixels that --mask keeps"),
        ("--mask a.png --colour-fix adain", 2, "--colour-fix: would change the pixels that --mask keeps"),
    ],
)
def test_what_cannot_be_made_is_refused(words, code, message, capsys):
    picture(Path("a.png"), (30, 20))
    for more in ([], ["--dry-run"]):
        if code == 2:
            with pytest.raises(SystemExit) as stopped:
                run("a.png", *words.split(), *more)
            assert stopped.value.code == 2
        else:
            assert run("a.png", *words.split(), *more) == code
        assert message in capsys.readouterr().err
    assert files(Path(".")) == ["a.png"]


def test_a_format_that_cannot_hold_the_size_is_refused_before_work(capsys):
    Image.new("RGB", (9000, 1)).save("a.png")
    assert run("a.png", "--ext", "jpg", "--scale", 8) == 3
    assert "holds at most 65500 pixels a side" in capsys.readouterr().err
    assert run("a.png", "--ext", "jpg", "--scale", 2) == 0


def test_the_memory_of_the_canvas_is_foreseen(monkeypatch, capsys):
    picture(Path("a.png"), (30, 20))
    asked = []
    monkeypatch.setattr(enlarge_module, "check_memory", lambda needed, *_: asked.append(needed))
    assert run("a.png", "--scale", 2, "--overwrite") == 0
    assert run("a.png", "--overwrite") == 0
    assert asked == [3 * 40 * 60 * 3 + 2 * 80 * 120 * 3, 3 * 80 * 120 * 3]


def test_a_crop_is_a_picture_of_its_own():
    pixels = picture(Path("a.png"), (30, 20))
    assert run("a.png", "--crop", "3,4,10,8") == 0
    np.testing.assert_array_equal(read_pixels(Path("out/a.png")), enlarged(pixels[4:12, 3:13]))
    record = sidecar(Path("out/a.png"))
    assert record["requested"]["crop"] == [3, 4, 10, 8]
    assert main(shlex.split(record["command"])[3:]) == 0
    assert run("a.png", "--crop", "3,4,10,9") == 3
    assert run("a.png", "--crop", "3", "4", "10", "8", "--scale", 2, "--suffix", "_2") == 0
    assert read_pixels(Path("out/a_2.png")).shape == (16, 20, 3)


def test_a_crop_keeps_its_part_of_the_transparency():
    image = Image.fromarray(picture(Path("a.png"), (30, 20)))
    image.putalpha(Image.fromarray(np.repeat(np.uint8([[0, 255]]), 15, 1).repeat(20, 0)))
    image.save("a.png")
    assert run("a.png", "--crop", "15,0,15,20") == 0
    assert (read_pixels(Path("out/a.png"))[..., 3] == 255).all()


@pytest.fixture
def tinted(monkeypatch):
    """Make the network shift the colours."""
    shift = np.float32([0.1, -0.05, 0.02])
    monkeypatch.setattr(Upscaler, "compiled", lambda *_: lambda *args: nearest(*args) * 0.7 + 0.1 + shift)


@pytest.mark.parametrize("fix", ["none", "wavelet", "adain"])
def test_colours_are_corrected_and_their_drift_is_measured(fix, tinted, capsys):
    pixels = np.random.default_rng(0).integers(60, 200, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save("a.png")
    assert run("a.png", "--colour-fix", fix) == 0
    result, record = read_pixels(Path("out/a.png")), sidecar(Path("out/a.png"))
    drift = np.abs(result.mean((0, 1)) - pixels.mean((0, 1))).max()
    assert record["colour_drift"] == pytest.approx(drift, abs=0.1)
    shown = f"mean colour drift: {record['colour_drift']:.2f} of 255 grey levels on average, "
    assert shown in capsys.readouterr().out
    if fix == "none":
        assert drift > 10
        assert "colour_fix" not in record["requested"]
        assert "colour_drift_before" not in record
        return
    assert drift < 0.5
    assert record["colour_drift_before"] > 10
    assert record["requested"]["colour_fix"] == fix
    if fix == "adain":
        for found, wanted in zip(colour_moments(result), colour_moments(pixels), strict=True):
            np.testing.assert_allclose(found, wanted, atol=0.003)
    assert main(shlex.split(record["command"])[3:]) == 0
    assert "0 made, 1 there already" in capsys.readouterr().out


@pytest.mark.parametrize("fix", ["wavelet", "adain"])
def test_a_correction_does_not_depend_on_tiles(fix, tinted):
    picture(Path("a.png"), (64, 48))
    made = []
    for tile in (16, 32):
        assert run("a.png", "--tile", tile, "--overlap", 0, "--color-fix", fix, "--overwrite") == 0
        made.append(read_pixels(Path("out/a.png")))
    np.testing.assert_array_equal(*made)


def test_grey_pictures_and_strips_are_corrected_too(tinted):
    Image.fromarray(picture(Path("a.png"), (30, 20))).convert("L").save("a.png")
    assert run("a.png", "--colour-fix", "adain") == 0
    assert read_pixels(Path("out/a.png")).ndim == 2
    assert sidecar(Path("out/a.png"))["colour_drift"] < 0.3
