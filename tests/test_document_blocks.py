"""Test that the blocks of docs/*.md run in order, from the root of a clone, with inputs that are shipped.

A block that cannot run on every machine has the line `<!-- not run: why -->` before it; NOT_RUN lists them all.
"""

import os
import re
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]+?) -->\n)?```(\w+)\n(.*?)^```", re.M | re.S)
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if BLOCK.search(path.read_text(encoding="utf-8")))
NOT_RUN = {
    ("enlarging", "it downloads weights with a non-commercial licence"),
    ("evaluation", "data sets that are not in the repository, for hours"),
    ("evaluation", "data sets that are not in the repository, packages of other programs"),
    ("evaluation", "it downloads 300 MB"),
    ("gallery", "it needs Kodak's photographs and Real-ESRGAN"),
    ("models", "it trains for hours"),
    ("models", "it asks the Hugging Face Hub"),
    ("performance", "it measures an accelerator"),
    ("scaling", "it measures an accelerator"),
    ("studio", "it installs, and serves until Ctrl-C"),
    ("studio", "it opens a port to the network, and serves until Ctrl-C"),
    ("studio", "it needs Docker, and downloads an image"),
}
# A reader's commands, by the Python that runs the tests. `exec` leaves one process, which `kill` then ends.
COMMANDS = {"jaxsr": '-m jaxsr "$@"', "python": '"$@"'}


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return (why it is not run, language, text) of every block of a page."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def test_what_is_not_run_is_listed():
    assert {(page.stem, why) for page in PAGES for why, _, _ in blocks(page) if why} == NOT_RUN
    assert {language for page in PAGES for _, language, _ in blocks(page)} <= {"bash", "sh", "python"}


def test_most_blocks_run():
    run = [page.stem for page in PAGES for why, _, _ in blocks(page) if not why]
    assert len(run) > 30
    assert {"commands", "enlarging", "evaluation", "faq", "findings", "guidance", "models", "research"} <= set(run)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_block_runs_in_order(tmp_path, page):
    runnable = [(language, text) for why, language, text in blocks(page) if not why]
    if not runnable:
        pytest.skip("every block of this page says why it is not run")
    if missing := [name for name in ("curl", "jq") if not shutil.which(name) and name in str(runnable)]:
        pytest.skip(f"this machine has no {' and no '.join(missing)}")
    for name in ("examples", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name, words in COMMANDS.items():
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n')
        (tmp_path / "bin" / name).chmod(0o755)
    before = set(tmp_path.iterdir())
    variables = os.environ | {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "JAXSR_CACHE_DIR": str(tmp_path.with_name("cache-of-documents")),
    }
    variables.pop("JAXSR_CACHE", None)
    for language, texts in groupby(runnable, key=lambda block: block[0]):
        text = "\n".join(text for _, text in texts)  # the Python of a page continues from block to block
        words = [sys.executable, "-c", text] if language == "python" else ["bash", "-e", "-o", "pipefail", "-c", text]
        run = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{text}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    shell = "\n".join(text for language, text in runnable if language != "python")
    named = re.findall(r"(?:-o|--csv|--worst|--save-calibration) ([\w/.-]+)", re.sub(r".*--dry-run.*", "", shell))
    assert [name for name in named if not (tmp_path / name).exists()] == []
    assert not shell or set(tmp_path.iterdir()) > before
