"""Test that no file talks the reader into work: deep, doubled, endless and huge content is refused in one sentence.

Each file is read in a process with 3 GB of address space and thirty seconds.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.torch_files.files import PROTO, STOP, name, value, write_zip

ROOT = Path(__file__).parents[2]
READ = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
from pathlib import Path
from jaxsr.torch_files.reader import ReadError, read_state_dict
try:
    read_state_dict(Path(sys.argv[1]))
except ReadError as error:
    print(error)
"""


def refusal(path: Path) -> str:
    command = [sys.executable, "-c", READ, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{path}: ")
    assert (done.stdout.count("\n"), len(done.stdout) < 500) == (1, True)
    return done.stdout


def doubled(times: int) -> bytes:
    """Return the opcodes of a tuple that holds itself twice, that twice, and so on."""
    return value("x") + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(times))


def nested(times: int) -> bytes:
    return value(()) + b"\x85" * times


BODIES = {
    "doubled id": doubled(60) + b"Q",
    "nested id": nested(100_000) + b"Q",
    "doubled kind": b"(" + doubled(60) + name("torch", "FloatStorage") + value("0") + value("cpu") + value(4) + b"tQ",
    "long kind": b"("
    + value("x" * 10**6)
    + name("torch", "FloatStorage")
    + value("0")
    + value("cpu")
    + value(4)
    + b"tQ",
    "long name": name("m" * 10**6, "x"),
    "marks": b"(" * 10**6,
    "parts": b"N0" * 10,
    "axes": b"".join(
        [
            name("torch._utils", "_rebuild_tensor_v2"),
            b"((" + value("storage") + name("torch", "FloatStorage") + value("0") + value("cpu") + value(4) + b"tQ",
            value(0) + b"(" + b"K\x01" * 10**6 + b"t(" + b"K\x01" * 10**6 + b"t\x89" + value({}) + b"tR",
        ]
    ),
    "many values": b"(" + b"K\x01" * 6 * 10**6 + b"t",
}


@pytest.mark.parametrize("body", BODIES)
def test_it_is_refused_in_one_short_sentence(tmp_path, body):
    refusal(write_zip(tmp_path / "a.pth", BODIES[body], {"0": bytes(16)}))


@pytest.mark.parametrize("body", ["doubled id", "nested id", "doubled kind", "marks"])
def test_it_is_refused_in_the_format_before_zip_too(tmp_path, body):
    (tmp_path / "a.pth").write_bytes(PROTO + BODIES[body] + STOP)
    refusal(tmp_path / "a.pth")


def test_the_files_that_once_took_gigabytes(shared):
    for file in ("persid_kind_dag.pth", "persid_kind_nested.pth"):
        refusal(shared / "cases" / "reliability" / file)
