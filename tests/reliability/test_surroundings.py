"""Test commands on a computer without room, streams, a home or a name: one sentence, nothing half-written."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.reliability.kills import COMMANDS, files_of, write_inputs

ROOT = Path(__file__).parents[2]
SHORT = ("sample", "evaluate")
"""Commands that may end before a signal reaches them."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs") / "data")


def run(name: str, data: Path, out: Path, before: str = "exec", **variables: str) -> subprocess.CompletedProcess:
    command = shlex.join([sys.executable, "-m", *map(str, COMMANDS[name].words(data, out))])
    environment = os.environ | {"JAXSR_CACHE": "off", "PYTHONPATH": str(ROOT)} | variables
    words = ["bash", "-c", f"{before} {command}"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def one_sentence(done: subprocess.CompletedProcess, name: str) -> str:
    """Check that a command ended with a sentence for each failure, and return the last line of stderr."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("note: ", "dispersion: ", "about "))]
    assert done.returncode in (1, 3), (name, done.returncode, done.stderr)
    assert lines, name
    assert all(line.startswith(("error: ", "failed: ")) for line in lines), lines
    return lines[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(name, data, tmp_path):
    """No file may become larger than a block: as on a full disk, writing fails in the middle."""
    done = run(name, data, tmp_path / "out", "ulimit -f 1; exec")
    assert str(tmp_path / "out") in one_sentence(done, name)
    ends = (".png", ".csv", ".tmp", ".html", ".safetensors", ".npz")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in ends]


@pytest.mark.parametrize("name", COMMANDS)
def test_without_streams(name, data, tmp_path):
    """A command of a scheduler may have no stdin, stdout or stderr at all."""
    whole = run(name, data, tmp_path / "whole/out")
    closed = run(name, data, tmp_path / "closed/out", "exec <&- >&- 2>&-; exec")
    assert (whole.returncode, closed.returncode) == (0, 0), whole.stderr
    command = COMMANDS[name]
    assert files_of(tmp_path / "closed/out", command) == files_of(tmp_path / "whole/out", command)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_has_gone(name, data, tmp_path):
    """The reader of stdout ends at once, as `head` does. Results are made, or the command says nothing more."""
    done = run(name, data, tmp_path / "out", "exec > >(exec true); sleep 0.3; exec")
    assert done.returncode in (0, 141), done.stderr
    assert "Traceback" not in done.stderr


def signalled(name: str, data: Path, out: Path, *numbers: int) -> tuple[int, str]:
    """Start a command, send signals once its work has begun, and return its exit code and what it said on stderr."""
    command = [sys.executable, "-m", *map(str, COMMANDS[name].words(data, out))]
    environment = os.environ | {"JAXSR_CACHE": "off", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, **pipes)
    for _ in range(600):  # until the work has begun
        if out.is_dir() or process.poll() is not None:
            break
        time.sleep(0.05)
    for number in numbers:
        time.sleep(0.3)
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def check_resumed(name: str, data: Path, folder: Path) -> None:
    """Check that a stopped command, given again, makes what an undisturbed one makes."""
    assert run(name, data, folder / "whole/out").returncode == 0
    assert run(name, data, folder / "out").returncode in (0, 1)  # 1: the result is there
    command = COMMANDS[name]
    assert files_of(folder / "out", command) == files_of(folder / "whole/out", command)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle(name, number, data, tmp_path):
    """One sentence and the code of the signal; the next run makes what an undisturbed one makes."""
    code, said = signalled(name, data, tmp_path / "out", number)
    assert code in (0, 128 + number), said
    assert "Traceback" not in said
    assert code == 0 or [line for line in said.splitlines() if line.startswith("stopped")], said
    check_resumed(name, data, tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_twice(name, data, tmp_path):
    """The second one ends the process at once; nothing is half-written."""
    code, said = signalled(name, data, tmp_path / "out", signal.SIGINT, signal.SIGINT)
    assert code in (128 + signal.SIGINT, -signal.SIGINT) or (code == 0 and name in SHORT), said
    assert "Traceback" not in said
    check_resumed(name, data, tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_one_gigabyte_of_memory(name, data, tmp_path):
    done = run(name, data, tmp_path / "out", "ulimit -v 1000000; exec")
    assert "this process may have 1 GB of address space, but JAX needs 2 GB" in one_sentence(done, name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_cannot_be_made(name, data):
    done = run(name, data, Path("/proc/out"))
    assert "/proc/" in one_sentence(done, name)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_may_only_be_read(name, data, tmp_path):
    out, before = tmp_path / "out", "exec"
    out.mkdir()
    out.chmod(0o555)
    if os.geteuid() == 0:  # root may write anywhere, unless it has given up that right
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv, or a user that is not root")
        before = "exec setpriv --bounding-set=-dac_override --inh-caps=-dac_override"
    done = run(name, data, out, before)
    assert str(out) in one_sentence(done, name)
    assert not list(out.iterdir())


def test_a_user_without_a_name_and_a_home(data, tmp_path):
    """As in a container that runs under any number."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        inputs, out = Path(folder) / "data", Path(folder) / "out"
        shutil.copytree(data, inputs)
        out.mkdir()
        out.chmod(0o777)
        become = "import os, runpy, sys; os.setgid(54321); os.setuid(54321); sys.argv = sys.argv[1:]; "
        become += "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
        command = [sys.executable, "-c", become, *map(str, COMMANDS["sample"].words(inputs, out))]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if "No module named 'typing'" in done.stderr or "Permission denied: '/root" in done.stderr:
            pytest.skip("this Python is not open to others")
        assert done.returncode == 0, done.stderr
        assert len([path for path in out.iterdir() if path.suffix == ".png"]) == 6


def test_without_a_home_and_in_the_c_locale(data, tmp_path):
    (tmp_path / "é☃").mkdir()
    (tmp_path / "é☃/b.png").write_bytes((data / "photos/0.png").read_bytes())
    clean = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": "/nonexistent"}
    model, source, out = map(shlex.quote, map(str, (data / "model", tmp_path / "é☃", tmp_path / "out")))
    command = f"{sys.executable} -m jaxsr.sample -n {model} -i {source} -o {out} --recursive"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | clean
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.png", "b.png.json"]
