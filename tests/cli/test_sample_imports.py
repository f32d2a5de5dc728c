"""Test that the sample command imports little for its help, and that a run needs no network and no other framework."""

from tests.cli.sampling import ROOT, picture, start


def test_help_is_quick():
    """The command imports nothing slow before it has parsed its options."""
    code = (
        "import sys, jaxsr.cli.sample as s; s.make_parser().format_help();"
        "print(sorted({'jax', 'flax', 'numpy', 'scipy', 'PIL', 'rich'} & set(sys.modules)))"
    )
    process = start(code, ROOT, ROOT)
    assert process.communicate()[0].strip() == "[]"


def test_a_run_needs_no_network_and_no_other_framework(tmp_path, small_checkpoints, tmp_path_factory):
    picture(tmp_path / "a.png")
    words = ["-i", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--tile", "32"]
    code = f"""
import socket, sys
def refuse(*_): raise SystemExit("a connection was tried")
socket.socket.connect = socket.getaddrinfo = refuse
from jaxsr.cli.sample import main
assert main({["-n", str(small_checkpoints["channel"]), *words]}) == 0
heavy = {{"tensorflow", "torch", "orbax", "clu", "matplotlib", "pandas"}}
heavy |= {{"scipy.ndimage", "tifffile", "jaxsr.hub.download"}}
print(sorted(heavy & set(sys.modules)))
"""
    process = start(code, tmp_path_factory.getbasetemp(), small_checkpoints["channel"])
    output = process.communicate()[0]
    assert output.splitlines()[-1] == "[]", output
    assert any((tmp_path_factory.getbasetemp() / "cache/xla").iterdir())  # kept for the next run
