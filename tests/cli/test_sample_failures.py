"""Test that a failure in the sample command costs only its image, and that short memory costs no image."""

import gc

import jax
import numpy as np
import pytest

from jaxsr.cli import sample
from jaxsr.upscaling.upscaler import Upscaler
from tests.cli.sampling import files, picture, read_pixels, run, sidecar
from tests.small_model import enlarged, nearest

pytestmark = pytest.mark.usefixtures("model")


def test_bad_files_are_listed_and_do_not_stop_the_others(exact, tmp_path, capsys):
    picture(tmp_path / "in/a.png")
    picture(tmp_path / "in/z.jpg")
    (tmp_path / "in/empty.png").touch()
    (tmp_path / "in/cut.jpg").write_bytes((tmp_path / "in/z.jpg").read_bytes()[:200])
    (tmp_path / "in/text.png").write_text("no image")
    picture(tmp_path / "in/long.webp", (5000, 1))
    assert run("-i", tmp_path / "in", "-o", tmp_path / "out") == 3
    out, err = capsys.readouterr()
    assert "2 made" in out
    assert "4 failed" in out
    for name in ("empty.png", "cut.jpg", "text.png", "long.webp"):
        assert sum(line.startswith("failed: ") and name in line for line in err.splitlines()) == 1
    assert files(tmp_path / "out") == ["a.png", "a.png.json", "z.jpg", "z.jpg.json"]


def test_an_error_of_the_device_or_an_encoder_costs_one_image(exact, tmp_path, monkeypatch, capsys):
    """The picture decides the error, because the calls of several pictures run at the same time."""
    corners = {name: picture(tmp_path / f"in/{name}.png", seed=i)[0, 0] / 255 for i, name in enumerate("abc")}
    errors = {"a": RuntimeError("PngError"), "b": jax.errors.JaxRuntimeError("INTERNAL: broken")}

    def failing(params, key, tiles, origins):
        for name, error in errors.items():
            if np.allclose(tiles[0, 0, 0], corners[name]):
                raise error
        return nearest(params, key, tiles, origins)

    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: failing)
    assert run("-i", tmp_path / "in", "-o", tmp_path / "out") == 3
    out, err = capsys.readouterr()
    assert out.startswith("1 made")
    assert f"failed: {tmp_path / 'in/a.png'}: PngError" in err
    assert f"failed: {tmp_path / 'in/b.png'}: INTERNAL: broken" in err


def _short_of_memory(limit: int):
    def enlarge(params, key, tiles, origins):
        if tiles.shape[1] * tiles.shape[2] > limit:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return nearest(params, key, tiles, origins)

    return lambda self, options, *_: enlarge


def test_short_memory_is_overcome_and_recorded(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Upscaler, "compiled", _short_of_memory(32 * 64))
    pixels = picture(tmp_path / "a.png", (70, 20))
    words = ["-i", tmp_path / "a.png", "-o", tmp_path / "out"]
    assert run(*words) == 0
    np.testing.assert_array_equal(read_pixels(tmp_path / "out/a.png"), enlarged(pixels))
    record = sidecar(tmp_path / "out/a.png")
    assert (record["requested"]["tile"], record["options"]["tile"], record["tiles"]) == ("auto", [16, 48], 4)
    assert "--tile=48x16" in record["command"]
    assert run(*words) == 0
    assert "1 there already" in capsys.readouterr().out
    assert run(*words, "--suffix", "_big", "--tile", "64") == 3
    assert "--tile 32" in capsys.readouterr().err


@pytest.mark.parametrize("collects", [True, False])
def test_the_garbage_collector_is_as_it_was_even_after_an_error(collects, tmp_path, monkeypatch):
    seen = []

    def fail(args):
        seen.append(gc.isenabled())
        raise ValueError("no model")

    monkeypatch.setattr(sample, "prepare", fail)
    picture(tmp_path / "a.png")
    (gc.enable if collects else gc.disable)()
    try:
        assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 1
        assert (seen, gc.isenabled()) == ([False], collects)
    finally:
        gc.enable()
