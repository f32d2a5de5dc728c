"""Test what a command keeps of programs between processes: it changes no result, and nothing kept is out of date."""

import functools
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import diffusion
from jaxsr.diffusion.sampler import ancestral_step
from jaxsr.guidance.tiles import TileGuides
from jaxsr.models.model import Model
from jaxsr.options import Options
from jaxsr.runtime import lowered
from jaxsr.upscaling.loading import load
from jaxsr.upscaling.plan import plan_run
from jaxsr.upscaling.programs import compile_program
from tests.small_model import small_preset

ROOT = Path(__file__).parents[2]
X = np.arange(6, dtype=np.float32)


@pytest.fixture(autouse=True)
def restored():
    """Restore the settings of JAX's cache, which an earlier call of oneDNN may have turned off."""
    names = "jax_compilation_cache_dir", "jax_enable_compilation_cache"
    before = {name: jax.config.values[name] for name in names}
    jax.config.update("jax_enable_compilation_cache", True)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Keep what is lowered in a folder, as `sample` does, and compiled programs too."""
    monkeypatch.setenv("JAXSR_CACHE", "")
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(lowered, "_folder", None)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "xla"))
    lowered.keep_lowered()
    return lowered._folder


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
        lambda patch: patch.setattr(lowered.cpu, "fast_bfloat16", lambda: "another CPU"),
        lambda patch: patch.setattr(lowered.cpu, "processor", lambda: "another CPU"),
        lambda patch: jax.config.update("jax_default_matmul_precision", "highest"),
    ],
)
def test_what_changes_programs_changes_the_file(folder, monkeypatch, change):
    counted, before = Counted(), jax.config.values["jax_default_matmul_precision"]
    run(counted)
    change(monkeypatch)
    run(counted)
    jax.config.update("jax_default_matmul_precision", before)
    assert counted.traces == 2
    assert len(files(folder)) == 2


def test_every_version_has_its_folder_and_few_stay(folder, monkeypatch):
    os.utime(folder, ns=(0, 0))
    for number in range(lowered.VERSIONS + 2):
        monkeypatch.setattr(lowered, "_version", lambda number=number: str(number))
        lowered.keep_lowered()
        assert lowered._folder == folder.parent / str(number)
        run(Counted())
        os.utime(lowered._folder, ns=((number + 1) * 10**9,) * 2)
    assert files(folder.parent) == {str(number) for number in range(2, 6)}


@pytest.mark.parametrize("module", ["flax", "jaxlib.version", "numpy", "jax"])
def test_a_version_is_that_of_what_is_called(folder, monkeypatch, module):
    monkeypatch.setattr(sys.modules[module], "__version__", "99")
    lowered.keep_lowered()
    assert lowered._folder != folder


def test_a_source_that_changed_since_the_start_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(lowered, "_version", lambda: "edited")
    np.testing.assert_array_equal(run(Counted()), 2 * X)
    assert not files(folder)


@pytest.mark.parametrize("source", ["none", "unreadable"])
def test_without_a_readable_source_nothing_is_kept(folder, tmp_path, monkeypatch, source):
    package = tmp_path / "jaxsr"
    package.mkdir()
    if source == "unreadable":
        (package / ".#model.py").symlink_to("gone")  # the lock of an editor
    monkeypatch.setattr(lowered, "_PACKAGE", package)
    lowered.keep_lowered()
    assert lowered._folder is None
    np.testing.assert_array_equal(run(Counted()), 2 * X)


def test_the_source_is_that_of_the_package(tmp_path, monkeypatch):
    package = tmp_path / "jaxsr" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "jaxsr" / "__init__.py").touch()
    monkeypatch.setattr(lowered, "_PACKAGE", tmp_path / "jaxsr")
    before = lowered._version()
    (package / "module.py").write_text("x = 1\n")
    with_module = lowered._version()
    (package / "module.py").rename(package / "renamed.py")
    assert len({before, with_module, lowered._version()}) == 3


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


def test_a_whole_file_that_is_no_program_is_removed(folder):
    run(Counted())
    (path,) = folder.glob("*")
    path.write_bytes(hashlib.sha256(b"text").digest() + b"text")
    np.testing.assert_array_equal(run(Counted()), 2 * X)
    assert not files(folder)


def test_a_folder_that_cannot_be_written_stops_nothing(folder):
    folder.rmdir()
    folder.write_text("a file in its place")
    np.testing.assert_array_equal(run(Counted()), 2 * X)


def test_a_function_that_cannot_leave_the_process_runs_as_it_is(folder):
    def calls_python(x):
        return jax.pure_callback(lambda x: x + 1, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    np.testing.assert_array_equal(run(calls_python), X + 1)
    assert not files(folder)


@pytest.mark.parametrize(
    ("name", "value"), [("jax_compilation_cache_dir", None), ("jax_enable_compilation_cache", False)]
)
def test_nothing_is_kept_without_the_cache_of_compiled_programs(folder, name, value):
    jax.config.update(name, value)
    run(Counted())
    assert not files(folder)


def test_the_cache_can_be_turned_off(folder, monkeypatch):
    monkeypatch.setenv("JAXSR_CACHE", "off")
    lowered.keep_lowered()
    assert lowered._folder is None


def test_shapes_are_kept(folder, small_checkpoints, monkeypatch):
    load(small_checkpoints["channel"])
    monkeypatch.setattr(Model, "shapes", lambda self: {}["called"])
    load(small_checkpoints["channel"])
    monkeypatch.setattr(lowered, "_folder", None)
    with pytest.raises(KeyError, match="called"):
        load(small_checkpoints["channel"])


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


def lower(preset, options, remat=False):
    """Lower a program without computing anything."""
    options = plan_run(preset, (64, 64), options).options
    params = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in Model(preset).shapes().items()}
    tiles, origins = np.zeros((1, 64, 64, 3), np.float32), np.zeros((1, 2), np.int32)
    compile_program(preset, options, remat).lower(params, jax.random.key(0), tiles, origins)


@pytest.mark.parametrize(
    "changed",
    [
        {"options": Options(steps=1)},
        {"options": Options(steps=2, thinning="released")},
        {"options": Options(steps=2, precision="bf16")},
        {"options": Options(steps=2, temperature=0.5)},
        {"options": Options(steps=2, projection=0.5)},
        {"options": Options(steps=2, sampler="deterministic")},
        {"options": Options(steps=2), "remat": True},
        {"options": Options(steps=2), "preset": {"prediction": "x0"}},
        {"options": Options(steps=2), "preset": {"schedule": {"kappa": 0.5}}},
    ],
)
def test_whatever_decides_a_program_is_in_the_name_of_its_file(folder, monkeypatch, changed):
    traced = []
    monkeypatch.setattr(lowered, "kept_bytes", lambda name, make: traced.append(name) or make())
    preset = small_preset("channel")
    more = changed.get("preset", {})
    if "schedule" in more:
        more = {"schedule": replace(preset.schedule, **more["schedule"])}
    lower(preset, Options(steps=2))
    lower(replace(preset, **more), changed["options"], changed.get("remat", False))
    assert len(set(traced)) == 2


def test_a_users_sampler_is_traced_each_time(folder, monkeypatch):
    @functools.wraps(ancestral_step)
    def own_step(denoise, x_t, z_lr, row):
        return ancestral_step(denoise, x_t, z_lr, row)

    monkeypatch.setitem(diffusion.SAMPLERS, "own", diffusion.Sampler(own_step, draws_noise=True))
    lower(small_preset("channel"), Options(steps=1, sampler="own"))
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
        kept.append({path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "lowered").glob("*/*")})
    assert len(kept[0]) == 2  # the program, and the shapes
    assert kept[0] == kept[1]
    assert results[0] == results[1]
