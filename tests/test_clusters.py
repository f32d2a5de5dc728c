"""Test the examples for clusters: the scripts run here as their engine would run them."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxsr
from jaxsr.cli.sample_options import make_parser

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "examples/clusters"


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos/sub").mkdir(parents=True)
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20 + number, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / ("sub" if number % 2 else ".") / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def environment(tmp_path, small_checkpoints):
    """Return the environment of a job, with a `python` whose default model is small."""
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin/python"
    model = small_checkpoints["channel"]
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@" -n {model} --tile 32 --steps 1\n')
    shim.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def made(results: Path) -> list[str]:
    return sorted(str(path.relative_to(results)) for path in results.rglob("*.png"))


EXPECTED = ["0.png", "2.png", "4.png", "sub/1.png", "sub/3.png"]


@pytest.mark.slow
def test_the_jobs_of_a_slurm_array_make_all_images(photos, environment, tmp_path):
    for number in (1, 2):
        job = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "2"}
        command = ["bash", str(CLUSTERS / "slurm_array.sh"), str(photos), str(tmp_path / "out")]
        subprocess.run(command, env=environment | job, check=True)
    assert made(tmp_path / "out") == EXPECTED


@pytest.mark.slow
def test_the_pods_of_an_indexed_job_make_all_images(photos, environment, tmp_path):
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((CLUSTERS / "kubernetes_job.yaml").read_text())["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert f'/{job["completions"]}"' in container["args"][0]
    assert job["parallelism"] <= job["completions"]
    folders = {"PHOTOS": str(photos), "RESULTS": str(tmp_path / "out")}
    assert {entry["name"] for entry in container["env"]} >= folders.keys()
    for index in range(job["completions"]):
        pod = folders | {"JOB_COMPLETION_INDEX": str(index)}
        subprocess.run([*container["command"], *container["args"]], env=environment | pod, check=True)
    assert made(tmp_path / "out") == EXPECTED


@pytest.mark.slow
def test_ray_enlarges_a_folder(photos, small_checkpoints, tmp_path):
    pytest.importorskip("ray.data", reason="the example needs  pip install 'ray[data]'", exc_type=ImportError)
    words = [photos, tmp_path / "out", "--model", small_checkpoints["channel"]]
    command = [sys.executable, CLUSTERS / "ray_data.py", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "5 made" in done.stdout
    assert made(tmp_path / "out") == [f"{name}.png" for name in EXPECTED]
    upscaler = jaxsr.load(small_checkpoints["channel"])
    for name in EXPECTED:
        alone = upscaler.upscale(np.asarray(Image.open(photos / name)))
        together = np.asarray(Image.open(tmp_path / f"out/{name}.png"))
        assert together.shape == alone.shape
        assert np.abs(together.astype(int) - alone).max() <= 1  # the rounding of another batch


def test_the_jobs_install_what_exists_and_use_options_that_exist():
    yaml, bash = ((CLUSTERS / name).read_text() for name in ("kubernetes_job.yaml", "slurm_array.sh"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"jaxsr\[(\w+)\]", yaml)) == {"cuda12"} <= extras.keys()
    options = {flag for action in make_parser()._actions for flag in action.option_strings}
    for text in (yaml, bash):
        assert {"--recursive", "--shard"} <= set(re.findall(r" (--[a-z-]+)", text.split("jaxsr.sample")[1])) <= options
