"""Test the end of a calibration: a run that is killed there is ended by the next one, with all its files."""

import pytest

from jaxsr.calibration import passes, plots
from jaxsr.cli import calibrate
from jaxsr.guidance.calibration_file import Calibration
from jaxsr.runtime.journal import JournalFile
from tests.cli.test_calibrate import fake, made
from tests.runtime.test_locks import hold

__all__ = ["fake"]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "name"), [(plots, "write_plots"), (Calibration, "write"), (JournalFile, "remove")])
def test_a_run_killed_near_its_end_leaves_nothing_undone(fake, tmp_path, monkeypatch, place, name):
    def stop(*args):
        raise KeyboardInterrupt

    whole, plotted = made(fake(name="whole.json")), []
    with monkeypatch.context() as patch:
        patch.setattr(place, name, stop)
        assert calibrate.main(fake()) == 130
    assert (tmp_path / "calib.json.part").exists()
    assert (tmp_path / "calib.json").exists() == (name == "remove")
    monkeypatch.setattr(passes.Journal, "append", stop)  # all is measured
    monkeypatch.setattr(plots, "write_plots", lambda run, found, output: plotted.append(output) or [output])
    found = made(fake())
    assert (found.open_loop, found.presets) == (whole.open_loop, whole.presets)
    assert plotted == [tmp_path / "calib.json"]
    assert sorted(path.name for path in tmp_path.glob("calib*")) == ["calib.json"]


def test_two_runs_do_not_write_one_file(fake, tmp_path, capsys):
    process, answers = hold(tmp_path / "calib.json.part")
    assert answers == ["True"]
    assert calibrate.main(fake()) == 1
    assert "calib.json.part: another calibration is writing it; wait" in capsys.readouterr().err
    process.communicate("")
    made(fake())
