"""Test the calibrate command on a fake model: what it writes, its options, its errors, and how it resumes."""

import re
import signal
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.calibration import passes, plots, run
from jaxsr.calibration.plan import CalibrationRun
from jaxsr.cli import calibrate
from jaxsr.guidance.calibration_file import Calibration
from jaxsr.runtime import progress
from tests.calibration.fake import assert_same_numbers, compile_once, install, start, write_photos

CLOSED = ("--closed-loop", "psnr,swd")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a function that makes the command's arguments, for three small pairs and a grid of four numbers."""
    install(monkeypatch)
    compile_once(monkeypatch)
    monkeypatch.setattr(plots, "write_plots", lambda *args: [])
    photos = write_photos(tmp_path / "hr")

    def arguments(*more: object, name: str = "calib.json", pairs: Path = photos) -> list[str]:
        words = (
            "--pairs",
            pairs,
            "-o",
            tmp_path / name,
            "--candidates",
            "-0.2:0.4:4",
            "--multiples",
            "-0.2:0.4:4",
            "--crop",
            16,
            *more,
        )
        return [str(word) for word in words]

    return arguments


def made(arguments: list[str]) -> Calibration:
    assert calibrate.main(arguments) == 0
    return Calibration.read(arguments[arguments.index("-o") + 1])


def test_the_open_loop_alone(fake, tmp_path, capsys):
    found = made(fake())
    assert list(found.presets) == ["open-loop", "fitted"]
    assert found.presets["open-loop"]["scale"] == found.open_loop["norm"]["candidate"]
    assert set(found.open_loop["step-norm"]["candidate"]) <= set(found.open_loop["multiples"])
    np.testing.assert_allclose(
        found.open_loop["norm"]["candidate"],
        np.multiply(found.open_loop["variance"], found.open_loop["step-norm"]["candidate"]),
    )
    assert found.presets["fitted"]["scale"] == found.open_loop["lstsq"]["pooled_without_offset"]["slope"]
    assert all(len(found.reference[name]) == 3 for name in ("slope", "offset"))
    np.testing.assert_allclose(found.open_loop["multiples"], [-0.2, 0, 0.2, 0.4], atol=1e-12)
    assert (found.closed_loop, found.data["pairs"], found.steps) == (None, 3, 3)
    assert sorted(path.name for path in tmp_path.glob("calib*")) == ["calib.json"]
    printed = capsys.readouterr().out
    assert "written: " in printed
    beyond = [f"t = {t}" for t, scale in enumerate(found.open_loop["step-norm"]["weighted_median"], 1) if scale > 0.4]
    assert (f"lies beyond the multiples ({', '.join(beyond)}); widen --multiples" in printed) == bool(beyond)


def test_the_closed_loop_gives_a_table_a_front_and_presets(fake):
    found = made(fake(*CLOSED, "--profile", "constant,last,open-loop", "--rule", "min swd, lose <= 90 dB"))
    table, rows = found.closed_loop, found.closed_loop["rows"]
    assert [row["profile"] for row in rows] == ["plain", *["constant"] * 3, *["last"] * 3, *["open-loop"] * 4]
    assert list(found.presets) == ["open-loop", "fitted", "faithful", "balanced", "vivid", "rule"]
    psnr, swd = (np.array([row[name] for row in rows]) for name in ("psnr", "swd"))
    assert table["picks"]["faithful"] == table["front"][0] == psnr.argmax()
    assert table["picks"]["rule"] == table["front"][-1] == swd.argmin()
    for name, most in (("balanced", 0.25), ("vivid", 0.7)):
        assert table["picks"][name] == np.where(psnr[0] - psnr <= most, swd, np.inf).argmin()
        row = rows[table["picks"][name]]
        assert found.presets[name] == {
            "scale": row["scale"],
            "temperature": [1.0] * 3,
            "projection": 0.0,
            "rule": f"max perception, lose <= {most} dB",
            "change": {metric: row[metric] - rows[0][metric] for metric in ("psnr", "swd")},
            "warning": "",
        }
    on_front = np.array([rows[at]["scale"] for at in table["front"]])
    np.testing.assert_array_equal(found.knob_range(3), np.stack([on_front.min(0), on_front.max(0)], 1))
    ((low, high),) = found.knob_range(1)
    constant = [k for k, row in enumerate(rows) if len(set(row["scale"])) == 1]
    best = [max(constant, key=lambda k: psnr[k]), min(constant, key=lambda k: swd[k])]
    assert sorted(rows[k]["scale"][0] for k in best) == [low, high]


def test_losses_bound_what_balanced_and_vivid_lose(fake):
    found = made(fake(*CLOSED, "--losses", "0,90"))
    rows, picks = found.closed_loop["rows"], found.closed_loop["picks"]
    psnr, swd = (np.array([row[name] for row in rows]) for name in ("psnr", "swd"))
    assert picks["balanced"] == np.where(psnr >= psnr[0], swd, np.inf).argmin()
    assert picks["vivid"] == swd.argmin()
    rules = [found.presets[name]["rule"] for name in ("balanced", "vivid")]
    assert rules == ["max perception, lose <= 0 dB", "max perception, lose <= 90 dB"]


def test_temperatures_and_projections_are_tried_and_searched(fake, capsys):
    found = made(fake(*CLOSED, "--temperatures", "0.8,1.2", "--projections", "1", "--search", "1"))
    rows = found.closed_loop["rows"]
    assert [row["projection"] for row in rows] == [0.0, 1.0] * (len(rows) // 2)
    warm = [(row["value"], row["temperature"]) for row in rows[::2] if row["profile"] == "temperature"]
    assert warm == [(0.8, [0.8] * 3), (1.2, [1.2] * 3)]
    assert {len(set(row["temperature"])) for row in rows if row["profile"] == "search"} == {1, 2}
    assert len({row["psnr"] for row in rows}) == len(rows)
    printed, presets = capsys.readouterr().out, found.presets.values()
    assert ("projection" in printed) == any(preset["projection"] for preset in presets)
    assert ("temperature" in printed) == any(set(preset["temperature"]) != {1.0} for preset in presets)
    for words in (("--sampler", "heun"), ("--steps", "1")):
        assert calibrate.main(fake(*CLOSED, "--temperatures", "0.8", *words, name="no.json")) == 1
        assert "--temperatures: no noise is drawn" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_resumes_and_says_what_it_gained(fake, tmp_path, capsys, monkeypatch):
    words = (*CLOSED, "--search", "2", "--candidates", "0.3")
    found = made(fake(*words))
    table = found.closed_loop
    rows = table["rows"]
    assert [row["profile"] for row in rows[:3]] == ["plain", "constant", "open-loop"]
    assert {row["value"] for row in rows[3:]} == {1.0, 2.0}
    assert max(table["picks_before_search"].values()) < 3
    before, after = (rows[table[key]["faithful"]]["psnr"] for key in ("picks_before_search", "picks"))
    assert after > before
    assert max(table["picks_constant"].values()) < 2
    assert (table["profiles"], table["search"]) == (["constant"], 2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("search: faithful, psnr and swd")]
    assert f"one number {before:.4g} " in lines[0]
    assert f"search {after:.4g} " in lines[0]

    def stop_in_round_2(journal, name, rows, append=passes.Journal.append):
        append(journal, name, rows)
        if name == "search 2":
            raise KeyboardInterrupt

    monkeypatch.setattr(passes.Journal, "append", stop_in_round_2)
    assert calibrate.main(fake(*words, name="again.json")) == 130
    monkeypatch.undo()
    install(monkeypatch)
    compile_once(monkeypatch)
    monkeypatch.setattr(plots, "write_plots", lambda *args: [])
    read = []
    monkeypatch.setattr(passes, "_read", lambda *args, make=passes._read: read.extend(args[1]) or make(*args))
    assert_same_numbers(made(fake(*words, name="again.json")), found)
    assert read == [[1], [2]]


@pytest.mark.slow
def test_batches_and_chunks_change_no_number(fake):
    whole = made(fake(*CLOSED, "--batch", 3))
    parts = made(fake(*CLOSED, "--batch", 2, "--candidate-batch", 2, name="parts.json"))
    for row, same in zip(whole.closed_loop["rows"], parts.closed_loop["rows"], strict=True):
        np.testing.assert_allclose([row["psnr"], row["swd"]], [same["psnr"], same["swd"]], rtol=1e-5)
    np.testing.assert_allclose(whole.open_loop["losses"], parts.open_loop["losses"], rtol=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        ("--objective", "lstsq"),
        ("--objective", "step-norm"),
        ("--forward-ode", "inversion"),
        ("--through", "state"),
        ("--reference-variance", "marginal"),
        ("--sampler", "deterministic"),
        ("--thinning", "released"),
        ("--thinning", "0,1,3"),
        ("--steps", "2"),
        ("--seed", "1"),
        ("--crops", "4", "--crop", "16"),
        ("--limit", "2"),
    ],
    ids=" ".join,
)
def test_every_option_changes_what_is_found_and_is_told(fake, words):
    plain, changed = made(fake()), made(fake(*words, name="changed.json"))
    different = {name for name in Calibration.__dataclass_fields__ if getattr(plain, name) != getattr(changed, name)}
    assert different & {"open_loop", "presets"}
    assert different - {"open_loop", "presets"}


def test_precision_reaches_the_model(fake, monkeypatch):
    plain, changed = made(fake()), made(fake("--precision", "bf16", name="changed.json"))
    assert (plain.precision, changed.precision) == ("fp32", "bf16")
    dtypes = []
    monkeypatch.setattr(run, "open_loop", lambda one, journal, name: dtypes.append(plan_dtype(one)) or stop())
    assert calibrate.main(fake("--precision", "bf16", name="third.json")) == 1
    assert dtypes == [jnp.bfloat16]


def plan_dtype(one: CalibrationRun):
    return run.make_chain(one.upscaler, one.pairs, one.choices).model.dtype


def stop():
    raise ValueError("enough")


def test_a_model_of_nan_is_named_with_the_picture(fake, tmp_path, capsys, monkeypatch):
    install(monkeypatch, gain=float("nan"))
    assert calibrate.main(fake()) == 1
    assert "0.png: the network returned numbers that are not finite" in capsys.readouterr().err
    assert not (tmp_path / "calib.json").exists()


def test_results_are_kept_and_other_choices_refused(fake, tmp_path, capsys):
    before = made(fake())
    assert calibrate.main(fake("--seed", 1)) == 1
    assert "calib.json is there already" in capsys.readouterr().err
    assert Calibration.read(tmp_path / "calib.json") == before
    assert made(fake("--seed", 1, "--overwrite")).seed == 1


def test_a_killed_run_goes_on_where_it_was(fake, tmp_path, monkeypatch):
    arguments = fake(*CLOSED, "--limit", 3)
    part, process = tmp_path / "calib.json.part", start(60, arguments)
    while process.poll() is None and not (part.exists() and part.read_bytes().count(b"\n") > 1):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "calib.json").exists()
    kept, read = part.read_bytes(), []
    monkeypatch.setattr(passes, "_read", lambda *args, make=passes._read: read.extend(args[1]) or make(*args))
    resumed = made(arguments)
    assert kept.count(b"\n") == 2  # the header and the first pair
    assert read == [[1], [2], *[[0], [1], [2]] * 2]
    whole = made(fake(*CLOSED, "--limit", 3, name="whole.json"))
    assert resumed.presets == whole.presets
    assert_same_numbers(resumed, whole)


def test_ctrl_c_says_how_to_go_on(fake, monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(passes, "check_finite", interrupted)
    assert calibrate.main(fake()) == 130
    assert "run the same command again to resume" in capsys.readouterr().err


def test_progress_is_told_now_and_then_and_has_a_rate(fake, capsys, monkeypatch):
    monkeypatch.setattr(progress, "QUIET", 0.0)
    made(fake(*CLOSED))
    first, *lines, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"about .* ahead: \d+ network calls of .* ms; compilation and scores come on top", first)
    assert re.fullmatch(r"took [\d.]+ s; peak memory: [\d.]+ GB", last)
    assert [line.split(",")[0] for line in lines] == [
        f"{name}: {i}/3 pairs" for name in (*passes.OPEN, passes.CLOSED) for i in (1, 2, 3)
    ]
    assert "candidate-images/s" in lines[-1]
    assert lines[-1].endswith(" 0 s left")
