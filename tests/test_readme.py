"""Test that the blocks of the README run in order, from the root of a clone, and that they name no missing file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?<!command -->\n)^```(bash|python)\n(.*?)^```", TEXT, re.M | re.S)
# What a reader's environment has. `pip` installs nothing here: it finds out whether it could.
SETUP = """set -e
jaxsr() { "$PYTHON" -m jaxsr "$@"; }
pip() { "$PYTHON" -m pip "${@/#./$CLONE}" --dry-run; }
"""


def test_it_is_short():
    assert len([word for word in TEXT.split() if re.search(r"\w", word)]) <= 900  # the blocks and tables too


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]*)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_every_block_runs_in_order(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    places = {"CLONE": str(ROOT), "PYTHONPATH": str(ROOT), "JAXSR_CACHE_DIR": str(tmp_path / "c")}
    variables = os.environ | places | {"PYTHON": sys.executable}
    assert {language for language, _ in BLOCKS} == {"bash", "python"}
    for language, block in BLOCKS:
        block = "\n".join(line for line in block.splitlines() if not line.startswith("jaxsr studio"))  # it would stay
        words = ["bash", "-c", SETUP + block] if language == "bash" else [sys.executable, "-c", block]
        run = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{block}\n{run.stdout}\n{run.stderr}"
    named = re.findall(r"(?:-o|save\(\") ?([\w/.-]+)", "".join(block for _, block in BLOCKS))
    assert len(named) > 8
    assert [name for name in named if not (tmp_path / name).exists()] == []
