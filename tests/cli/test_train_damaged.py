"""Test what the train command does with a damaged run, and with a run that another process has not ended."""

import pytest

from jaxsr.cli.train import main
from jaxsr.runtime.locks import try_lock, unlock
from tests.cli.test_train import fake_run
from tests.training.tiny_run import model_bytes, results, steps_kept

__all__ = ["fake_run"]


def damage(folder):
    """Empty every file of a checkpoint."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    for file in files:
        file.write_bytes(b"")


@pytest.fixture
def whole(fake_run, tmp_path):
    """Make a finished run; return its log and the bytes of its model."""
    assert main(fake_run()) == 0
    return results(tmp_path / "out"), model_bytes(tmp_path / "out")


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(whole, fake_run, tmp_path, capsys):
    out, (newest, before) = tmp_path / "out", sorted(map(int, steps_kept(tmp_path / "out")), reverse=True)
    damage(out / "checkpoints" / str(newest))
    capsys.readouterr()
    assert main(fake_run()) == 0
    shown = capsys.readouterr().out
    assert f"the checkpoint of step {newest} cannot be read (" in shown
    assert f"resuming from step {before}" in shown
    assert (out / "damaged" / str(newest)).is_dir()
    assert sorted(map(int, steps_kept(out)), reverse=True) == [newest, before]
    assert (results(out), model_bytes(out)) == whole


def test_without_a_whole_checkpoint_the_run_begins_anew(whole, fake_run, tmp_path, capsys):
    out = tmp_path / "out"
    kept = steps_kept(out)
    for step in kept:
        damage(out / "checkpoints" / step)
    assert main(fake_run()) == 0
    assert "resuming" not in capsys.readouterr().out.split("cannot be read")[-1]
    assert (results(out), model_bytes(out)) == whole


@pytest.mark.parametrize("content", ['{"steps": 12', "[]", "[" * 100_000])
def test_a_damaged_config_is_named(whole, fake_run, tmp_path, capsys, content):
    (tmp_path / "out/config.json").write_text(content)
    capsys.readouterr()
    assert main(fake_run()) == 1
    assert f"error: --output: {tmp_path / 'out/config.json'} is damaged; remove it if" in capsys.readouterr().err


def test_two_processes_do_not_train_in_one_folder(fake_run, tmp_path, capsys):
    assert try_lock(tmp_path / "out/checkpoints")
    try:
        assert main(fake_run()) == 1
    finally:
        unlock(tmp_path / "out/checkpoints")
    assert f"error: --output: another process trains in {tmp_path / 'out'}; wait" in capsys.readouterr().err
    assert main(fake_run()) == 0
