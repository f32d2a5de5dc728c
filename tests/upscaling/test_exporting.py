"""Test that an exported program runs without jaxsr, and computes what the model's own program does."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import numpy as np
import pytest

from jaxsr.cli.export import main
from jaxsr.models.model import Model
from jaxsr.options import Options
from jaxsr.upscaling.plan import plan_run, schedule_for
from jaxsr.upscaling.programs import enlarge_function

ROOT = Path(__file__).parents[2]
LR = np.random.default_rng(0).random((3, 32, 64, 3), np.float32)
ALONE = """
import sys
import jax.export, numpy as np
program = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
print(program.platforms, program.in_avals[0].shape, program.out_avals[0].shape)
np.save(sys.argv[3], program.call(np.load(sys.argv[2]), np.uint32(7)))
assert not [name for name in sys.modules if name.startswith("jaxsr")]
"""


def expected(upscaler, options: Options, lr: np.ndarray, seed: int = 7) -> np.ndarray:
    """Compute the same with the model's own program, image by image."""
    resolved = plan_run(upscaler.preset, lr.shape[1:3], options).options
    function = jax.jit(enlarge_function(Model(upscaler.preset), schedule_for(upscaler.preset, options), resolved))
    root = jax.random.key(seed, impl="threefry2x32")
    keys = [jax.random.fold_in(root, i)[None] for i in range(len(lr))]
    found = [function(upscaler.params, keys[i], lr[i : i + 1], np.zeros((1, 2), np.int32)) for i in range(len(lr))]
    return np.clip(np.concatenate(found), 0, 1)


def exported(path: Path, checkpoint: Path, *more: object) -> str:
    """Run the command in a process without the tests' checks of types, which know no symbolic sizes."""
    words = ["-n", checkpoint, "-o", path, "--steps", 2, "--tile", "64x32", *more]
    command = [sys.executable, "-m", "jaxsr.export", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_file_runs_without_jaxsr(small_checkpoints, small_upscalers, tmp_path, capsys):
    path = tmp_path / "model.stablehlo"
    said = exported(path, small_checkpoints["channel"])
    assert "for cpu, cuda, tpu" in said
    assert "(b, 32, 64, 3) -> (b, 128, 256, 3)" in said
    np.save(tmp_path / "lr.npy", LR)
    command = [sys.executable, "-c", ALONE, *map(str, (path, tmp_path / "lr.npy", tmp_path / "sr.npy"))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "('cpu', 'cuda', 'tpu') (b, 32, 64, 3) (b, 128, 256, 3)\n"
    found = np.load(tmp_path / "sr.npy")
    np.testing.assert_allclose(found, expected(small_upscalers["channel"], Options(steps=2), LR), atol=2e-5)
    assert main(["-n", str(small_checkpoints["channel"]), "-o", str(path)]) == 1
    assert "is there already; give another name or --overwrite" in capsys.readouterr().err


@pytest.mark.slow
def test_number_seed_alpha_and_kept_rows_decide(small_checkpoints, small_upscalers, tmp_path):
    programs = []
    for name, *words in (("plain",), ("guided", "--alpha", "0.3"), ("rows", "--thinning", "1,3")):
        exported(tmp_path / name, small_checkpoints["channel"], "--platforms", "cpu", *words)
        programs.append(jax.export.deserialize(bytearray((tmp_path / name).read_bytes())))
    plain, guided, rows = programs
    assert plain.platforms == ("cpu",)
    three, one = (np.asarray(plain.call(lr, np.uint32(7))) for lr in (LR, LR[:1]))
    np.testing.assert_allclose(three[:1], one, atol=2e-5)
    assert (np.asarray(plain.call(LR[:1], np.uint32(8))) != one).any()
    same = np.asarray(plain.call(np.repeat(LR[:1], 2, 0), np.uint32(7)))
    assert (same[0] != same[1]).any()  # each image has noise of its own
    assert np.abs(np.asarray(guided.call(LR[:1], np.uint32(7))) - one).max() > 1e-3
    kept = np.asarray(rows.call(LR[:1], np.uint32(7)))
    other = expected(small_upscalers["channel"], Options(thinning=(1, 3)), LR[:1])
    np.testing.assert_allclose(kept, other, atol=2e-5)
    assert np.abs(kept - one).max() > 1e-3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tile", "33"], "tile: must be a multiple of"),
        (["--preset", "vivid"], "calibration: there is no"),
        (["--steps", "2", "--alpha", "0.1,0.2,0.3"], "alpha: must be one number or 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(small_checkpoints, tmp_path, capsys, words, message):
    assert main(["-n", str(small_checkpoints["channel"]), "-o", str(tmp_path / "m.stablehlo"), *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m.stablehlo").exists()


@pytest.mark.parametrize(
    "words", [["--platforms", "cpu,abacus"], ["--tile", "0"], ["--tile", "axb"], ["--tile", "1x2x3"]]
)
def test_wrong_usage_is_refused(tmp_path, words):
    with pytest.raises(SystemExit) as stopped:
        main(["-o", str(tmp_path / "m"), *words])
    assert stopped.value.code == 2
