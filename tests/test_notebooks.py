"""Test that the notebooks run from top to bottom, and that the committed ones show outputs and an answer."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="notebooks need  pip install '.[notebooks]'")
FOLDER = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))
QUICK = {"01_gaussian_world"}  # the others take minutes


def test_there_are_a_quickstart_and_five_studies():
    assert [path.name[:2] for path in SOURCES] == ["00", "01", "02", "03", "04", "05"]


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


@pytest.mark.parametrize(
    "source",
    [pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.slow) for path in SOURCES],
    ids=lambda path: path.stem,
)
def test_it_runs(tmp_path, source):
    command = [sys.executable, str(FOLDER / "execute.py"), "-o", str(tmp_path), str(source)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert (tmp_path / source.with_suffix(".ipynb").name).is_file()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_its_imports_exist(source):
    """Check in a second what breaks most often; the linter finds names without a definition."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, f"{source.name}: {node.module} has no {', '.join(missing)}"
