"""Test what a command keeps of programs between processes: it changes no result, and nothing kept is out of date."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import diffusion
from jaxsr.guidance.tiles import TileGuides
from jaxsr.options import Options
from jaxsr.runtime import lowered
from jaxsr.upscaling.plan import plan_run
from jaxsr.upscaling.programs import compile_program
from jaxsr.upscaling.upscaler import load

ROOT = Path(__file__).parents[2]
X = np.arange(6, dtype=np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Keep what is lowered in a folder, as `sample` does, and compiled programs too."""
    monkeypatch.setattr(lowered, "_folder", tmp_path / "lowered")
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "xla"))
    lowered._surroundings.cache_clear()
    yield tmp_path / "lowered"
    lowered._surroundings.cache_clear()
    jax.config.update("jax_compilation_cache_dir", before)


class Counted:
    """A function that counts how often it is traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, x, more=None):
        self.traces += 1
        return x * 2 if more is None else x * more["factor"]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")}


def run(function, made_of="a function", *arguments):
    """Call a kept function as a new process would, which has traced nothing yet."""
    return np.asarray(jax.jit(lowered.kept(function, made_of))(*(arguments or (X,))))


def test_a_second_process_does_not_trace(folder):
    counted = Counted()
    np.testing.assert_array_equal(run(counted), 2 * X)
    np.testing.assert_array_equal(run(counted), 2 * X)
    assert counted.traces == 1
    assert len(files(folder)) == 1


@pytest.mark.parametrize("arguments", [(X[:3],), (X.astype(np.int32),), (X, {"factor": jnp.float32(2)})])
def test_other_arguments_are_other_programs(folder, arguments):
    counted = Counted()
    run(counted)
    np.testing.assert_array_equal(run(counted, "a function", *arguments), 2 * arguments[0])
    assert counted.traces == 2
    assert len(files(folder)) == 2


def test_another_function_is_another_program(folder):
    run(Counted())
    np.testing.assert_array_equal(run(lambda x: x + 1, "another"), X + 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(lowered, "_source", lambda: "edited"),
        lambda patch: patch.setattr(lowered.metadata, "version", lambda name: "99"),
        lambda patch: patch.setattr(lowered.cpu, "fast_bfloat16", lambda: "another CPU"),
        lambda patch: patch.setenv("JAXSR_ONEDNN", "another"),
    ],
)
def test_what_changes_programs_changes_the_file(folder, monkeypatch, change):
    counted = Counted()
    run(counted)
    change(monkeypatch)
    lowered._surroundings.cache_clear()
    run(counted)
    assert counted.traces == 2


def test_the_source_is_that_of_the_package(tmp_path, monkeypatch):
    package = tmp_path / "jaxsr" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "jaxsr" / "__init__.py").touch()
    monkeypatch.setattr(lowered.jaxsr, "__file__", str(tmp_path / "jaxsr" / "__init__.py"))
    before = lowered._source()
    (package / "module.py").write_text("x = 1\n")
    assert lowered._source() != before


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: bytes([data[0] ^ 1]) + data[1:]]
)
def test_a_damaged_file_is_made_again(folder, damage):
    counted = Counted()
    run(counted)
    (path,) = folder.glob("*")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    np.testing.assert_array_equal(run(counted), 2 * X)
    assert counted.traces == 2
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_stops_nothing(folder):
    folder.write_text("a file in its place")
    np.testing.assert_array_equal(run(Counted()), 2 * X)


def test_a_function_that_cannot_leave_the_process_runs_as_it_is(folder):
    def calls_python(x):
        return jax.pure_callback(lambda x: x + 1, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    np.testing.assert_array_equal(run(calls_python), X + 1)
    assert not files(folder)


def test_nothing_is_kept_without_the_cache_of_compiled_programs(folder):
    jax.config.update("jax_compilation_cache_dir", None)
    run(Counted())
    assert not files(folder)


@pytest.mark.parametrize(("cache", "kept"), [("", True), ("off", False)])
def test_the_cache_can_be_turned_off(tmp_path, monkeypatch, cache, kept):
    monkeypatch.setattr(lowered, "_folder", None)
    monkeypatch.setenv("JAXSR_CACHE", cache)
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path))
    lowered.keep_lowered()
    assert lowered._folder == (tmp_path / "lowered" if kept else None)


def test_shapes_are_kept(folder, small_checkpoints):
    path = small_checkpoints["channel"]
    first, again = load(path), load(path)
    assert len(files(folder)) == 1
    assert {name: value.shape for name, value in first.params.items()} == {
        name: value.shape for name, value in again.params.items()
    }


@pytest.mark.parametrize("guided", [False, True])
def test_an_enlargement_is_the_same_to_the_bit(folder, small_upscalers, monkeypatch, guided):
    upscaler = small_upscalers["channel"]
    options = plan_run(upscaler.preset, (64, 64), Options(steps=2)).options
    tiles = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    guides = (TileGuides(np.full((1, 2), 0.1, np.float32), None, None),) if guided else ()
    arguments = upscaler.params, jax.random.key(0), tiles, np.zeros((1, 2), np.int32), *guides
    compute = lambda: np.asarray(compile_program(upscaler.preset, options, remat=False)(*arguments))  # noqa: E731
    first, again = compute(), compute()
    assert len(files(folder)) == 1
    monkeypatch.setattr(lowered, "_folder", None)
    np.testing.assert_array_equal(first, compute())
    np.testing.assert_array_equal(again, first)


def test_a_users_sampler_is_traced_each_time(folder, small_upscalers, monkeypatch):
    def own_step(denoise, x_t, z_lr, row):
        return diffusion.SAMPLERS["ancestral"].step(denoise, x_t, z_lr, row)

    monkeypatch.setitem(diffusion.SAMPLERS, "own", diffusion.Sampler(own_step, draws_noise=True))
    upscaler = small_upscalers["channel"]
    options = plan_run(upscaler.preset, (64, 64), Options(steps=1, sampler="own")).options
    tiles, origins = np.zeros((1, 64, 64, 3), np.float32), np.zeros((1, 2), np.int32)
    compile_program(upscaler.preset, options, remat=False).lower(upscaler.params, jax.random.key(0), tiles, origins)
    assert not files(folder)


@pytest.mark.slow
def test_sample_keeps_what_it_lowers(small_checkpoints, tmp_path):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAXSR_CACHE": "", "JAXSR_CACHE_DIR": str(tmp_path / "cache")}
    results, kept = [], []
    for turn in range(2):
        words = ["-n", small_checkpoints["channel"], "-i", tmp_path / "photo.png", "-o", tmp_path / f"{turn}.png"]
        command = [sys.executable, "-m", "jaxsr.sample", *words]
        subprocess.run([*map(str, command)], env=environment, capture_output=True, check=True)
        results.append((tmp_path / f"{turn}.png").read_bytes())
        kept.append({path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "lowered").glob("*")})
    assert len(kept[0]) == 2  # the program, and the shapes
    assert kept[0] == kept[1]
    assert results[0] == results[1]
