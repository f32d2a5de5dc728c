"""Test the one command for accelerators, small and on the CPU."""

import json

import pytest

from benchmarks import gpu


@pytest.mark.slow
def test_all_parts_are_measured_into_one_file(tmp_path, capsys):
    assert gpu.main(["--small", "-o", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert [*content["parts"]] == [*gpu.PARTS]
    assert all(part["code"] == 0 for part in content["parts"].values())
    table = (tmp_path / "gpu.md").read_text()
    for name in gpu.PARTS:
        assert f"## {name}" in table
    assert "megapixels/s" in table
    assert "candidates" in content["parts"]["sweep"]["command"]


def test_a_part_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "SMALL", gpu.SMALL | {"guidance": "--nonsense"})
    monkeypatch.setattr(gpu, "measure_folder", lambda *_: {"command": "c", "code": 0, "output": "| table |"})
    assert gpu.main(["--small", "--parts", "guidance", "folder", "-o", str(tmp_path)]) == 1
    assert "--parts: guidance failed" in capsys.readouterr().err
    text = (tmp_path / "gpu.md").read_text()
    assert "unrecognized arguments: --nonsense" in text
    assert "| table |" in text
