"""Test the shards of an evaluation and of a study: parts of one run, which the command without --shard joins."""

import pytest

from jaxsr.evaluation.scoring import Scorer
from jaxsr.runtime.locks import try_lock, unlock
from tests.cli.results import read


@pytest.fixture
def scored(monkeypatch):
    """Collect the names of the images that are scored."""
    names, score = [], Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, pairs: names.extend(p.image for p in pairs) or score(self, pairs))
    return names


def test_shards_are_joined_without_a_second_measurement(command, tmp_path, scored, capsys):
    assert command(output="whole.json") == 0
    capsys.readouterr()
    parts = []
    for number in (1, 2):
        scored.clear()
        assert command("--shard", f"{number}/2") == 0
        parts.append([*scored])
        assert f"scored: part {number} of 2; the same command without --shard" in capsys.readouterr().out
    assert sorted(parts[0] + parts[1]) == ["a", "b", "c"]
    assert min(map(len, parts)) == 1
    assert not (tmp_path / "result.json").exists()
    scored.clear()
    assert command() == 0
    assert scored == []
    joined, whole = read(tmp_path), read(tmp_path, "whole.json")
    assert sorted(map(str, joined.images)) == sorted(map(str, whole.images))
    assert (joined.metrics, joined.protocol_sha256) == (whole.metrics, whole.protocol_sha256)
    assert list(tmp_path.glob("*.part*")) == []


def test_what_a_missing_shard_lacks_is_scored(command, tmp_path, scored):
    assert command("--shard", "2/2") == 0
    done = [*scored]
    scored.clear()
    assert command("--shard", "2/2") == 0  # all is there
    assert scored == []
    assert command() == 0
    assert sorted(scored + done) == ["a", "b", "c"]


def test_a_shard_of_another_run_is_not_joined(command, tmp_path, capsys):
    assert command("--shard", "1/2") == 0
    assert command("--limit", 2) == 1
    assert "result.json.part.1: holds a stopped evaluation with another list of images" in capsys.readouterr().err
    assert (tmp_path / "result.json.part.1").exists()
    assert command("--limit", 2, "--overwrite") == 0
    assert not (tmp_path / "result.json.part.1").exists()


def test_a_shard_at_work_is_waited_for(command, tmp_path, capsys):
    assert command("--shard", "1/2") == 0
    part = tmp_path / "result.json.part.1"
    assert try_lock(part)
    assert command() == 1
    assert f"{part}: another evaluation is writing it; wait for its end" in capsys.readouterr().err
    unlock(part)
    assert command() == 0
