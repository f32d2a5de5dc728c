"""Test that sixty harmful pickles, in two containers, execute nothing and import nothing."""

import json
import subprocess
import sys
from pathlib import Path

from tests.reliability.evil import CALLS, MODULES


def test_harmful_pickles_execute_nothing(tmp_path):
    command = [sys.executable, "-m", "tests.reliability.evil", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    found = json.loads(done.stdout)
    assert len(found["outcomes"]) == 6 * len(CALLS) * 3
    assert found["events"] == []
    assert not set(MODULES) & set(found["modules"])
    assert not (tmp_path / "mark").exists()
    for name, outcome in found["outcomes"].items():
        assert outcome != "read", name
        assert "\n" not in outcome, name
        assert len(outcome) < 500, name


def test_the_pickles_would_do_harm(tmp_path):
    """Python's own pickle executes them: else the test above could not fail."""
    script = f"""
import pickle, sys
from pathlib import Path
from tests.reliability.evil import write_all
path = write_all(Path({str(tmp_path)!r}))[sys.argv[1]]
pickle.loads(path.read_bytes())
"""
    for name in ("os.system-reduce.ckpt", "eval-stack-global.ckpt", "exec-instance.ckpt", "runpy-object.ckpt"):
        (tmp_path / "mark").unlink(missing_ok=True)
        subprocess.run([sys.executable, "-c", script, name], cwd=Path(__file__).parents[2], check=True)
        assert (tmp_path / "mark").exists(), name
