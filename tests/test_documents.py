"""Test that the code of the documents runs and does what they say."""

import re
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxsr import diffusion
from jaxsr.metrics.catalogue import METRICS

ROOT = Path(__file__).parents[1]


def blocks(page: str) -> list[str]:
    """Return the Python of a page, block by block."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "*/README.md", "jaxsr/assets/*/README.md")


@pytest.mark.parametrize(
    "page",
    [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_commands_can_be_pasted_into_a_shell(page):
    for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        parsed = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert (parsed.returncode, parsed.stderr) == (0, "")
        for line in block.replace("\\\n", " ").splitlines():  # one command a line, apart from chains
            commands = re.split(r"&&|;", line)
            assert all(len(re.findall(r"python3? -m", command)) <= 1 for command in commands), line
            assert not re.match(r"\s*(-[-\w]|#.*python3? -m)", line), line


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs blocks in one namespace, as a reader would: with JAX's own promotion of types."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(diffusion.sampler, "SAMPLERS", diffusion.SAMPLERS)
    samplers, metrics = dict(diffusion.SAMPLERS), dict(METRICS)
    names: dict = {}

    def run_them(sources: list[str]) -> dict:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            for source in sources:
                exec(source, names)
        return names

    yield run_them
    for table, before in ((diffusion.SAMPLERS, samplers), (METRICS, metrics)):
        table.clear()
        table.update(before)


@pytest.mark.slow
def test_research_in_ten_lines(run):
    posing, built_in, own, listed, guided, formed, metric, scored = blocks("docs/research.md")
    names = run([posing, built_in])
    up, lr, plain = names["up"], names["lr"], names["image"]
    np.testing.assert_allclose(plain, up.upscale(lr / np.float32(255), steps=4, seed=0, tile="off"), atol=2e-6)
    assert (plain.shape, plain.dtype) == ((192, 256, 3), np.float32)
    np.testing.assert_allclose(run([own])["image"], plain, atol=2e-5)  # the built-in sampler, written out
    cautious = run([listed])["image"]
    assert 0.1 < np.abs(cautious - 255 * plain).mean() < 20
    toward, sharp = run([guided])["image"], np.asarray(names["sharp"]) / np.float32(255)
    assert np.square(toward - sharp).mean() < np.square(plain - sharp).mean()
    masked = run([formed])["image"]
    assert np.abs(masked - plain)[:96].mean() > 1e-3
    assert np.abs(masked - plain)[144:].max() < np.abs(masked - plain)[:96].max() / 2
    scores = run([metric, scored])["scores"]
    expected = np.abs(names["result"].astype(float) - names["original"]).mean() / 255
    assert scores["mae"] == pytest.approx(expected, rel=1e-4)  # the metric adds in float32
    assert (names["rule"].metric, names["rule"].guard) == ("mae", "swd")
