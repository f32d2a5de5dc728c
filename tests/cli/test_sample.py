"""The sample command, from files to files: results, formats, failures, resuming, and what it imports."""

import json
import os
import platform
import pty
import shlex
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image, ImageCms

from jaxsr.batch.enlarge import enlarge_alpha, losses
from jaxsr.cli.sample import main, make_parser
from jaxsr.imaging.deep import encode_png16
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.pixels import from_float
from jaxsr.models.presets import PRESETS
from jaxsr.options import Options
from jaxsr.storage import sha256_file
from jaxsr.upscaling import upscaler as upscaler_module
from jaxsr.upscaling.plan import tile_unit
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import enlarged, nearest, small_preset

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def model(small_upscalers, monkeypatch) -> Upscaler:
    """Any -n loads the small model, once for all tests."""
    upscaler = small_upscalers["channel"]
    monkeypatch.setattr(upscaler_module, "load", lambda name, *, accept_license: upscaler)
    return upscaler


@pytest.fixture
def exact(model, monkeypatch) -> Upscaler:
    """Also, `nearest` in place of its network."""
    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: nearest)
    return model


def _run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def _picture(path: Path, size: tuple[int, int] = (5, 4), seed: int = 0, **settings) -> np.ndarray:
    """Write a random RGB picture of (width, height); returns its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **settings)
    return pixels


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _sidecar(path: Path) -> dict:
    return json.loads(path.with_name(f"{path.name}.json").read_text())


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# The command line


@pytest.mark.parametrize(
    "words",
    [
        "",
        "-i x --seed -1",
        "-i x --seed 4294967296",
        "-i x --steps 0",
        "-i x --n-samples 0",
        "-i x --batch many",
        "-i x --tile big",
        "-i x --tile 0",
        "-i x --overlap -1",
        "-i x --quality 101",
        "-i x --sampler euler",
        "-i x --thinning even",
        "-i x --blend linear",
        "-i x --precision fp16",
        "-i x --ext gif",
        "-i x --suffix ../up",
        "-i x --over",
    ],
)
def test_wrong_usage_is_refused_by_the_name_of_the_option(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2
    assert (words.split()[2] if words else "-i") in capsys.readouterr().err


def test_the_command_offers_what_the_library_has():
    parser, default = make_parser(), Options()
    unit = tile_unit(PRESETS["tiny_x4"])
    assert " ".join(parser.format_help().split()).count(f"a multiple of {unit}") == 2
    args = parser.parse_args(["-i", "x"])
    assert {name: getattr(args, name) for name in vars(default)} == vars(default)


FLAGS = {
    "steps": 1,
    "sampler": "heun",
    "thinning": "released",
    "tile": 32,
    "overlap": 64,
    "blend": "mean",
    "precision": "bf16",
    "seed": 4,
    "quality": 71,
    "alpha": 0.3,
    "through": "state",
    "reference_variance": "marginal",
}


@pytest.mark.parametrize("name", FLAGS)
def test_every_sampling_flag_reaches_what_is_done_and_recorded(exact, tmp_path, name):
    _picture(tmp_path / "a.jpg")
    words = [f"--{name.replace('_', '-')}", FLAGS[name]]
    words += ["--alpha", 0.1] if name in ("through", "reference_variance") else []
    assert _run("-i", tmp_path / "a.jpg", "-o", tmp_path / "out", *words) == 0
    record = _sidecar(tmp_path / "out/a.jpg")
    assert record["requested"][name] == record["options"][name] == FLAGS[name]


def test_no_sampling_flag_is_left_out_above(exact, tmp_path):
    _picture(tmp_path / "a.jpg")
    assert _run("-i", tmp_path / "a.jpg", "-o", tmp_path / "out") == 0
    default = _sidecar(tmp_path / "out/a.jpg")["requested"]
    counted, elsewhere = {"sample"}, {"reference_mean"}  # --n-samples counts, tests/cli/test_sample_guided.py
    assert default.keys() == FLAGS.keys() | counted | elsewhere
    assert not [name for name in FLAGS if default[name] == FLAGS[name]]


@pytest.mark.parametrize(("words", "expected"), [("", ("tiny-x4", False)), ("-n x --accept-license", ("x", True))])
def test_the_model_and_the_consent_are_those_of_the_command(exact, tmp_path, monkeypatch, words, expected):
    calls = []
    load = lambda name, *, accept_license: calls.append((name, accept_license)) or exact  # noqa: E731
    monkeypatch.setattr(upscaler_module, "load", load)
    _picture(tmp_path / "a.png")
    assert _run("-i", tmp_path / "a.png", "-o", tmp_path / "out", *words.split()) == 0
    assert calls == [expected]


def test_known_models_are_listed_with_their_licences(capsys):
    assert main(["--list-models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("tiny-x4 ") and line.endswith("CC BY-SA 4.0") for line in lines)
    assert any("sinsr-v1" in line and "(non-commercial)" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [("--steps 5", "steps: .*4 steps"), ("--tile 40", "tile: .*multiple of 16"), ("--tile 32 --overlap 40", "overlap")],
)
def test_what_does_not_fit_the_model_is_refused_before_any_work(exact, tmp_path, capsys, words, message):
    _picture(tmp_path / "a.png")
    assert _run("-i", tmp_path / "a.png", "-o", tmp_path / "out", *words.split()) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert _files(tmp_path) == ["a.png"]


def test_a_model_that_needs_a_mask_is_refused(model, tmp_path, capsys, monkeypatch):
    masked = replace(model, preset=small_preset(cond_mask=True))
    monkeypatch.setattr(upscaler_module, "load", lambda *_, **__: masked)
    _picture(tmp_path / "a.png")
    assert _run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 1
    assert "mask" in capsys.readouterr().err


# Results


def test_a_tree_of_files_is_mirrored(exact, tmp_path, capsys):
    names = ["a.png", "sub/b.jpg", "sub/deep/c.webp", "d.tif", "e.bmp"]
    pictures = {name: _picture(tmp_path / "in" / name, (6, 5), seed) for seed, name in enumerate(names)}
    assert _run("-i", tmp_path / "in", "-o", tmp_path / "out", "--recursive") == 0
    made = [name.replace(".bmp", ".png") for name in names]
    assert _files(tmp_path / "out") == sorted([*made, *(f"{name}.json" for name in made)])
    for name, target in zip(names, made, strict=True):
        assert _pixels(tmp_path / "out" / target).shape == (20, 24, 3)
        if Path(name).suffix in (".png", ".tif", ".bmp"):
            np.testing.assert_array_equal(_pixels(tmp_path / "out" / target), enlarged(pictures[name]))
    out, err = capsys.readouterr()
    assert out.startswith("5 made (")
    assert "images/s), 0 there already, 0 failed" in out
    assert err == ""  # no terminal, no bar


def test_names_formats_and_samples(model, tmp_path):
    _picture(tmp_path / "a.png", (9, 7))
    words = ["-i", tmp_path / "a.png", "-o", tmp_path / "out", "--tile", "32"]
    assert _run(*words, "--suffix", "_x4", "--ext", "webp", "--n-samples", 2) == 0
    made = [tmp_path / "out" / f"a_x4_{sample}.webp" for sample in (0, 1)]
    assert _files(tmp_path / "out") == sorted(f"{path.name}{end}" for path in made for end in ("", ".json"))
    assert np.abs(_pixels(made[0]).astype(int) - _pixels(made[1])).mean() > 1
    assert [_sidecar(path)["options"]["sample"] for path in made] == [0, 1]
    assert _run(*words, "--ext", "jpg", "--quality", 10, "--suffix", "_low") == 0
    assert _run(*words, "--ext", "jpg", "--quality", 95) == 0
    assert (tmp_path / "out/a_low.jpg").stat().st_size < (tmp_path / "out/a.jpg").stat().st_size


def test_the_command_and_the_call_agree(model, tmp_path):
    pixels = _picture(tmp_path / "a.png", (9, 7))
    assert _run("-i", tmp_path / "a.png", "-o", tmp_path / "out", "--tile", "32", "--seed", "9") == 0
    np.testing.assert_array_equal(_pixels(tmp_path / "out/a.png"), model.upscale(pixels, tile=32, seed=9))


def test_the_same_picture_under_another_name_gives_the_same_result(model, tmp_path):
    for name in ("b/z.png", "b/a.tif", "c.png"):
        _picture(tmp_path / name, (9, 7))
    words = ["-o", tmp_path / "out", "--tile", "32"]
    assert _run("-i", tmp_path / "b", tmp_path / "c.png", *words) == 0
    first = _pixels(tmp_path / "out/z.png")
    np.testing.assert_array_equal(_pixels(tmp_path / "out/a.tif"), first)
    np.testing.assert_array_equal(_pixels(tmp_path / "out/c.png"), first)


def test_the_sidecar_tells_how_to_make_the_same_bytes_again(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _picture(Path("in/a photo.jpg"), (40, 9))
    settings = "--steps 2 --sampler ancestral --seed 7 --n-samples 2 --batch 3 --tile 32 --ext jpg --quality 80"
    assert _run("-i", "in", *settings.split()) == 0
    record = _sidecar(Path("out/a photo_1.jpg"))
    assert record["output_sha256"] == sha256_file(Path("out/a photo_1.jpg"))
    assert record["input_sha256"] == sha256_file(Path("in/a photo.jpg"))
    assert record["model_sha256"] == model.sha256
    assert (record["size"], record["tiles"], record["batch"], record["options"]["overlap"]) == ([160, 36], 2, 3, 16)
    python, m, module, *words = shlex.split(record["command"])
    assert (python, m, module) == ("python", "-m", "jaxsr.sample")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(words) == 0
    assert sha256_file(Path("out/a photo_1.jpg")) == record["output_sha256"]


def test_the_recorded_command_finds_its_result_done(exact, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _picture(Path("a.png"))
    assert _run("-i", "a.png") == 0
    assert main(shlex.split(_sidecar(Path("out/a.png"))["command"])[3:]) == 0
    assert "0 made, 1 there already" in capsys.readouterr().out


# Formats


def test_orientation_profile_and_exif_come_through(exact, tmp_path):
    exif = Image.Exif()
    exif[274], exif[315] = 6, "A. Photographer"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = _picture(tmp_path / "a.png", (5, 3), exif=exif, icc_profile=profile)
    assert _run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    np.testing.assert_array_equal(_pixels(tmp_path / "out/a.png"), enlarged(np.rot90(pixels, -1)))
    with Image.open(tmp_path / "out/a.png") as result:
        assert result.info["icc_profile"] == profile
        assert (result.getexif()[274], result.getexif()[315]) == (1, "A. Photographer")


def test_transparency_is_enlarged_and_darkens_no_edge(exact, tmp_path):
    pixels = np.zeros((6, 8, 4), np.uint8)
    pixels[:, 4:] = (250, 120, 60, 255)  # hidden pixels are black, as most programs write them
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert _run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    result = _pixels(tmp_path / "out/a.png")
    assert result.shape == (24, 32, 4)
    assert (result[..., :3] == (250, 120, 60)).all()
    assert result[:, 0, 3].max() == 0
    assert result[:, -1, 3].min() == 255
    assert (np.diff(result[:, 10:22, 3].astype(int), axis=1) >= 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_stay_sixteen_bits(exact, tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 65536, (4, 5, channels), np.uint16)
    (tmp_path / "a.png").write_bytes(encode_png16(pixels, None, None))
    assert _run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    photo = read_photo(tmp_path / "out/a.png")
    assert (photo.depth, photo.grey) == (16, channels == 1)
    np.testing.assert_array_equal(np.rint(photo.rgb * 65535)[..., :channels], enlarged(pixels))


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

    assert _run(*words, "--ext", "jpg", "--n-samples", 2) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: 2 images lost transparency (JPEG cannot hold it)",
        "note: 3 images lost depth beyond 8 bits a channel (JPEG cannot hold it)",
        "note: 1 image lost its CMYK colours (made sRGB, at 8 bits)",
        "note: 4 images lost all frames but the first",
    ]
    told = {name: _sidecar(tmp_path / f"out/{name}_0.jpg")["notes"] for name in "abc"}
    lost = ["The image lost transparency (JPEG cannot hold it)."]
    assert told == {"a": [], "b": lost, "c": lost}

    some = ["-i", tmp_path / "b.png", tmp_path / "d.png", "-o", tmp_path / "out"]
    assert _run(*some) == 0
    assert "note: " not in capsys.readouterr().out
    assert _run(*some, "--ext", "webp") == 0
    assert capsys.readouterr().out.endswith(
        "\nnote: 1 image lost depth beyond 8 bits a channel (WebP cannot hold it)\n"
    )
    strip = np.zeros((4, 4, 3), np.uint8)
    held = [losses(read_photo(path), strip, Path("a.png"), strip=True) for path in some[1:3]]
    reasons = ("transparency", "depth beyond 8 bits a channel")
    assert held == [(f"lost {reason} (a strip cannot hold it)",) for reason in reasons]


@pytest.mark.parametrize(("mode", "limit"), [("L", 4), ("LA", 3.2), ("RGB", 2.3), ("RGBA", 2.3)])
def test_the_enlarged_image_is_held_once_in_its_own_depth(exact, tmp_path, mode, limit):
    """Beside it the input and some bands as float RGB, which weigh more where the result has fewer channels."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 8, 4), np.uint8))
    noise.resize((64, 1024)).convert(mode).save(tmp_path / "a.png")  # compresses about as a photograph does
    words = ["-i", tmp_path / "a.png", "-o", tmp_path / "out", "--tile", "32", "--overwrite"]
    assert _run(*words) == 0
    tracemalloc.start()
    assert _run(*words) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit * 4096 * 256 * len(mode)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("rows", [1, 64, 65, 131])
def test_alpha_by_bands_is_alpha_at_once(rows, dtype):
    from jaxsr.imaging.alpha import upscale_alpha

    alpha = np.random.default_rng(0).random((rows, 9), np.float32)
    out = np.empty((4 * rows, 36), dtype)
    enlarge_alpha(alpha, 4, out)
    whole = from_float(upscale_alpha(alpha, 4), dtype)
    assert np.abs(out.astype(int) - whole).max() <= 1  # rounding
    assert (out != whole).mean() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_grey_and_narrow_pictures(exact, tmp_path, size):
    Image.new("L", size, 77).save(tmp_path / "a.png")
    assert _run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    result = _pixels(tmp_path / "out/a.png")
    assert result.shape == (4 * size[1], 4 * size[0])  # one channel
    assert set(result.ravel()) == {77}


# Failures


def test_bad_files_are_listed_and_do_not_stop_the_others(exact, tmp_path, capsys):
    _picture(tmp_path / "in/a.png")
    _picture(tmp_path / "in/z.jpg")
    (tmp_path / "in/empty.png").touch()
    (tmp_path / "in/cut.jpg").write_bytes((tmp_path / "in/z.jpg").read_bytes()[:200])
    (tmp_path / "in/text.png").write_text("no image")
    _picture(tmp_path / "in/long.webp", (5000, 1))
    assert _run("-i", tmp_path / "in", "-o", tmp_path / "out") == 3
    out, err = capsys.readouterr()
    assert "2 made" in out
    assert "4 failed" in out
    for name in ("empty.png", "cut.jpg", "text.png", "long.webp"):
        assert sum(line.startswith("failed: ") and name in line for line in err.splitlines()) == 1
    assert _files(tmp_path / "out") == ["a.png", "a.png.json", "z.jpg", "z.jpg.json"]


def test_an_error_of_the_device_or_an_encoder_costs_one_image(exact, tmp_path, monkeypatch, capsys):
    for name in "abc":
        _picture(tmp_path / f"in/{name}.png")
    errors = [jax.errors.JaxRuntimeError("INTERNAL: broken"), RuntimeError("PngError")]

    def failing(params, key, tiles, origins):
        if errors:
            raise errors.pop()
        return nearest(params, key, tiles, origins)

    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: failing)
    assert _run("-i", tmp_path / "in", "-o", tmp_path / "out") == 3
    out, err = capsys.readouterr()
    assert out.startswith("1 made")
    assert f"failed: {tmp_path / 'in/a.png'}: PngError" in err
    assert f"failed: {tmp_path / 'in/b.png'}: INTERNAL: broken" in err


def test_names_that_are_no_text_are_shown(exact, tmp_path, capsys):
    name = os.fsdecode(b"caf\xe9.png")
    _picture(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    words = ["-i", tmp_path / name, "-o", tmp_path / "out"]
    assert _run(*words) == 0
    assert _run(*words, "--dry-run") == 0
    assert r"caf\udce9.png: there already" in capsys.readouterr().out
    assert _run(*words, "--seed", 1) == 3
    assert r"caf\udce9.png exists" in capsys.readouterr().err


def test_a_name_with_line_breaks_stays_one_line(model, tmp_path, capsys):
    _picture(tmp_path / "in/a\nb\x1b[2J\u2028.png")
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out"]
    shown = r"a\nb\x1b[2J\u2028.png"
    assert _run(*words, "--dry-run") == 0
    first, _ = capsys.readouterr().out.splitlines()
    assert first.count(shown) == 2
    assert _run(*words) == 0
    assert _run(*words, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[-2].endswith(f"{shown}: there already")
    assert _run(*words, "--seed", 1) == 3
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), len(err.splitlines())) == (1, 1)
    assert shown in err


def test_a_run_that_makes_nothing_names_no_place_of_results(exact, tmp_path, capsys):
    _picture(tmp_path / "in/a.png")
    (tmp_path / "in/bad.png").touch()
    words = ["-o", tmp_path / "out"]
    assert _run("-i", tmp_path / "in/bad.png", *words) == 3
    assert capsys.readouterr().out == "0 made, 0 there already, 1 failed\n"
    assert _run("-i", tmp_path / "in", *words) == 3
    assert f"1 failed; results in {tmp_path / 'out'}\n" in capsys.readouterr().out


def test_an_output_that_is_a_file_is_refused_before_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(upscaler_module, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    for name in "ab":
        _picture(tmp_path / f"in/{name}.png")
    assert _run("-i", tmp_path / "in", "-o", tmp_path / "in/a.png") == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: --output: {tmp_path / 'in/a.png'} is not a folder; give the name of one.\n")


def test_leftovers_of_a_killed_run_are_removed(exact, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    leftover = tmp_path / f"out/.jaxsr-{platform.node()}.{process.pid}.abc.tmp/a.png"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    _picture(tmp_path / "a.png")
    assert _run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png", "a.png.json"]


@pytest.mark.parametrize("names", [["a.png", "b/a.png"], ["a.png", "a.bmp"]])
def test_two_inputs_of_one_result_are_refused_before_work(tmp_path, capsys, monkeypatch, names):
    monkeypatch.setattr(upscaler_module, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    for name in names:
        _picture(tmp_path / name)
    assert _run("-i", *(tmp_path / name for name in names), "-o", tmp_path / "out") == 1
    assert "would both be written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _short_of_memory(limit: int):
    def enlarge(params, key, tiles, origins):
        if tiles.shape[1] > limit:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return nearest(params, key, tiles, origins)

    return lambda self, options, *_: enlarge


def test_short_memory_is_overcome_and_recorded(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Upscaler, "compiled", _short_of_memory(32))
    pixels = _picture(tmp_path / "a.png", (70, 20))
    words = ["-i", tmp_path / "a.png", "-o", tmp_path / "out"]
    assert _run(*words) == 0
    np.testing.assert_array_equal(_pixels(tmp_path / "out/a.png"), enlarged(pixels))
    record = _sidecar(tmp_path / "out/a.png")
    assert (record["requested"]["tile"], record["options"]["tile"], record["tiles"]) == ("auto", 32, 4)
    assert "--tile=32" in record["command"]
    assert _run(*words) == 0
    assert "1 there already" in capsys.readouterr().out
    assert _run(*words, "--suffix", "_big", "--tile", "64") == 3
    assert "--tile 32" in capsys.readouterr().err


# Resuming


def test_finished_results_are_skipped_and_others_kept(exact, tmp_path, capsys):
    _picture(tmp_path / "in/a.png", seed=0)
    _picture(tmp_path / "in/b.png", seed=1)
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out"]
    assert _run(*words) == 0
    result = tmp_path / "out/a.png"
    before = result.stat().st_mtime_ns
    assert _run(*words, "--batch", 3) == 0  # which does not change results
    assert result.stat().st_mtime_ns == before
    assert "0 made, 2 there already, 0 failed" in capsys.readouterr().out

    assert _run(*words, "--seed", 1) == 3
    pixels = _picture(tmp_path / "in/a.png", seed=2)
    assert _run(*words) == 3
    out, err = capsys.readouterr()
    assert "0 made, 1 there already, 1 failed" in out
    assert err.count("--overwrite") == 3
    assert result.stat().st_mtime_ns == before

    assert _run(*words, "--overwrite") == 0
    np.testing.assert_array_equal(_pixels(result), enlarged(pixels))


def test_ctrl_c_stops_with_what_is_done(exact, tmp_path, monkeypatch, capsys):
    for name in "abc":
        _picture(tmp_path / f"in/{name}.png")
    calls = []

    def interrupted(params, key, tiles, origins):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return nearest(params, key, tiles, origins)

    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: interrupted)
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out"]
    assert _run(*words) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert _files(tmp_path / "out") == ["a.png", "a.png.json"]
    assert _run(*words) == 0
    assert "2 made" in capsys.readouterr().out


def _start(code: str | list[str], folder: Path, small_checkpoint: Path) -> subprocess.Popen:
    cache = {"JAXSR_CACHE": "on", "JAXSR_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    words = ["-c", code] if isinstance(code, str) else ["-m", "jaxsr.sample", "-n", str(small_checkpoint), *code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *words], env=os.environ | cache, **pipes)


def test_a_killed_run_goes_on_where_it_was(exact, tmp_path, small_checkpoints, tmp_path_factory, capsys):
    for number in range(40):
        _picture(tmp_path / f"in/{number:02}.png", (60, 60), number)
    words = ["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--tile", "32"]
    process = _start(words, tmp_path_factory.getbasetemp(), small_checkpoints["channel"])
    while not (tmp_path / "out/01.png").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert 2 <= len(finished) < 40
    for path in finished:
        assert _sidecar(path)["output_sha256"] == sha256_file(path)

    assert _run(*words) == 0
    assert f"{40 - len(finished)} made" in capsys.readouterr().out
    names = [f"{number:02}.png" for number in range(40)]
    assert _files(tmp_path / "out") == sorted([*names, *(f"{name}.json" for name in names)])
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


# Looks and speed


def test_a_dry_run_shows_the_plan_and_writes_nothing(model, tmp_path, capsys):
    _picture(tmp_path / "in/a.png", (40, 30))
    _picture(tmp_path / "in/b.png", (10, 10))
    (tmp_path / "in/bad.png").touch()
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out", "--tile", "32"]
    assert _run(*words, "--dry-run") == 3
    out, err = capsys.readouterr()
    first, second, total = out.splitlines()
    assert "a.png 40x30 -> " in first
    assert "a.png 160x120: 2 tiles of 32, " in first
    assert "1 tiles of 32" in second
    assert " MB for the network, 0.2 MB for the image" in first  # 3 * 160 * 120 * 3 bytes
    assert total.startswith("2 to make in about ")
    assert "bad.png" in err
    assert not (tmp_path / "out").exists()

    assert _run("-i", tmp_path / "in/b.png", *words[2:]) == 0
    before = _files(tmp_path)
    assert _run(*words, "--dry-run") == 3
    assert f"{tmp_path / 'out/b.png'}: there already" in capsys.readouterr().out
    assert _run(*words, "--dry-run", "--seed", 5) == 3
    assert "made otherwise" in capsys.readouterr().err
    assert _files(tmp_path) == before


def test_a_terminal_sees_tiles_and_a_rate(exact, tmp_path, monkeypatch):
    for name in ("A.png", "[b].png"):  # the second is no markup
        _picture(tmp_path / f"in/{name}", (40, 40))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                shown.extend(data)
        except OSError:  # how Linux says that the other end was closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        assert _run("-i", tmp_path / "in", "-o", tmp_path / "out", "--tile", "32") == 0
    reader.join(10)
    os.close(ours)
    text = shown.decode()
    assert "images/s" in text
    assert "2/2" in text
    assert "[b].png" in text


def test_help_is_quick():
    """Nothing that takes time is imported before the options are understood."""
    code = (
        "import sys, jaxsr.cli.sample as s; s.make_parser().format_help();"
        "print(sorted({'jax', 'flax', 'numpy', 'scipy', 'PIL', 'rich'} & set(sys.modules)))"
    )
    process = _start(code, ROOT, ROOT)
    assert process.communicate()[0].strip() == "[]"


def test_a_run_needs_no_network_and_no_other_framework(tmp_path, small_checkpoints, tmp_path_factory):
    _picture(tmp_path / "a.png")
    words = ["-i", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--tile", "32"]
    code = f"""
import socket, sys
def refuse(*_): raise SystemExit("a connection was tried")
socket.socket.connect = socket.getaddrinfo = refuse
from jaxsr.cli.sample import main
assert main({["-n", str(small_checkpoints["channel"]), *words]}) == 0
heavy = {{"tensorflow", "torch", "orbax", "clu", "matplotlib", "pandas"}}
heavy |= {{"scipy.ndimage", "imagecodecs", "jaxsr.hub.download"}}
print(sorted(heavy & set(sys.modules)))
"""
    process = _start(code, tmp_path_factory.getbasetemp(), small_checkpoints["channel"])
    output = process.communicate()[0]
    assert output.splitlines()[-1] == "[]", output
    assert any((tmp_path_factory.getbasetemp() / "cache/xla").iterdir())  # kept for the next run
