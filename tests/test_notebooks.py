"""Test that the notebooks run from top to bottom, and that the committed ones show outputs and an answer."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="notebooks need  pip install '.[notebooks]'")
FOLDER = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))


def test_there_are_five():
    assert [path.name[:2] for path in SOURCES] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_both_halves_of_a_pair_are_one_notebook(source):
    text, notebook = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in text.cells
    ]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_what_is_committed_has_outputs_and_answers_its_question(source):
    cells = jupytext.read(source.with_suffix(".ipynb")).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "**Question.**" in cells[0].source
    answer = re.fullmatch(r"\*\*Answer\.\*\* (.+)", cells[-1].source, re.DOTALL)
    assert answer
    assert len(answer[1]) > 300


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> dict[Path, subprocess.CompletedProcess]:
    """Run all notebooks, two at a time: compilers, which use one core each, take most of the time."""
    folder = tmp_path_factory.mktemp("notebooks")

    def run(source: Path) -> subprocess.CompletedProcess:
        command = [sys.executable, str(FOLDER / "execute.py"), "-o", str(folder), str(source)]
        env = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # most of their time is compilation
        return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=env)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SOURCES, pool.map(run, SOURCES), strict=True))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_it_runs(executed, source):
    assert executed[source].returncode == 0, executed[source].stderr[-3000:]
