"""Test the study command end to end on a small random network: files, resuming, and what is refused."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxsr
from jaxsr.cli import study
from jaxsr.data.pairs import open_pairs
from jaxsr.numerics.run import Study, load_part, make_setup, save_part
from jaxsr.options import Options

SMALL = ["--steps", "2", "--counts", "2", "--scales", "-0.1", "--draws", "2", "--crop", "8"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (36, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def command(small_checkpoints, photographs):
    """Return a function that runs the command on the small network."""

    def run(output: Path, *words: str) -> int:
        model = ["-n", str(small_checkpoints["channel"]), "--pairs", str(photographs), "-o", str(output)]
        return study.main([*model, *SMALL, *words])

    return run


@pytest.mark.slow
def test_a_study_goes_on_where_it_was_and_takes_more_images(command, tmp_path, capsys) -> None:
    output = tmp_path / "report"
    assert command(output, "--limit", "2", "--instruments", "dispersion,truncation") == 0
    printed = capsys.readouterr()
    assert printed.out == f"written: {output / 'report.html'}\n"
    assert "dispersion: 0.png (1 of 2)" in printed.err
    assert "left out: truncation: the network knows 4 steps" in printed.err
    assert "Left out: truncation" in (output / "report.html").read_text()
    parts = sorted((output / "parts" / "dispersion").iterdir())
    assert len(parts) == 2
    whole, table = load_part(parts[0]), (output / "dispersion.csv").read_text()

    parts[0].write_bytes(parts[0].read_bytes()[:100])  # a damaged part is measured again
    os.utime(parts[1], (0, 0))
    (output / "modular.csv").write_text("of an earlier report, of other images")
    assert command(output, "--limit", "3", "--instruments", "dispersion") == 0
    again = load_part(parts[0])
    assert again.keys() == whole.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)
    assert parts[1].stat().st_mtime == 0
    assert len(list((output / "parts" / "dispersion").iterdir())) == 3
    assert (output / "dispersion.csv").read_text() != table
    assert not (output / "modular.csv").exists()


def test_shards_measure_parts_that_the_report_takes(command, tmp_path, capsys) -> None:
    output, words = tmp_path / "report", ("--instruments", "dispersion")
    for number in (1, 2):
        assert command(output, *words, "--shard", f"{number}/2") == 0
        assert f"measured: part {number} of 2; the same command" in capsys.readouterr().out
        assert len(list((output / "parts" / "dispersion").iterdir())) == (2, 3)[number - 1]
    assert not (output / "report.html").exists()
    for part in (output / "parts" / "dispersion").iterdir():
        os.utime(part, (0, 0))
    assert command(output, *words) == 0
    assert {part.stat().st_mtime for part in (output / "parts" / "dispersion").iterdir()} == {0}
    assert (output / "report.html").exists()


def test_other_choices_need_another_folder(command, tmp_path, capsys) -> None:
    output = tmp_path / "report"
    (output / "parts").mkdir(parents=True)
    (output / "parts" / "choices.json").write_text('{"draws": 7}')
    assert command(output) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: --output: {output} holds a study with other choices (model_sha256, schedule")
    assert error.endswith("give its choices to resume it, or another folder.\n")
    (output / "parts" / "choices.json").write_text('{"draws": ')
    assert command(output, "--limit", "2", "--instruments", "dispersion") == 1
    assert re.search(
        r"^error: --output: .*choices\.json is damaged \(.*\); remove .*parts to measure again", capsys.readouterr().err
    )


def test_a_part_with_a_wrong_bit_is_no_part(tmp_path):
    results = {"a": np.arange(12.0).reshape(3, 4), "b/variance": np.ones(3)}
    save_part(tmp_path / "a.npz", results)
    data = (tmp_path / "a.npz").read_bytes()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        (tmp_path / "a.npz").write_bytes(damaged)
        found = load_part(tmp_path / "a.npz")
        for name, values in (found or {}).items():  # some bits mean nothing, such as a file's time
            np.testing.assert_array_equal(values, results[name])


def test_a_study_of_rows_compares_them_with_even_ones(small_checkpoints, photographs) -> None:
    upscaler = jaxsr.load(str(small_checkpoints["channel"]))
    pairs = open_pairs(str(photographs), None, scale=upscaler.preset.scale, crop=8, limit=2)
    options = Options(thinning=(1, 3))
    setup = make_setup(Study(upscaler=upscaler, name="small", pairs=pairs, options=options, counts=[1, 2, 3]))
    assert list(setup.rows) == [1, 3]
    assert [schedule.timestep_map.tolist() for schedule in setup.compared] == [[3], [1, 3], [0, 2, 3]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--draws", "1"], "error: draws: the dispersion needs at least 2 samples of each image, got 1."),
        (["--steps", "9"], "error: steps: this model's schedule has 4 steps, so ask for 1 to 4, not 9."),
        (["--counts", "2,5"], "error: steps: this model's schedule has 4 steps, so ask for 1 to 4, not 5."),
        (["--thinning", "0,4"], "error: thinning: this model's schedule has rows 0 to 3; leave out row 4."),
        (["--thinning", "0,1,3"], "error: steps: the thinning keeps 3 rows, one per step; leave steps out, or give 3"),
        (["--crop", "7"], "error: crop: must be a multiple of 8 for this model, got 7."),
        (["--crop", "64"], "error: --pairs:"),
    ],
)
def test_what_does_not_fit_is_one_sentence(words, sentence, command, tmp_path, capsys) -> None:
    assert command(tmp_path / "report", *words) == 1
    error = capsys.readouterr().err
    assert error.startswith(sentence)
    assert error.count("\n") == 1
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("words", [["--instruments", "errors,x"], ["--scales", "a"], ["--limit", "0"]])
def test_wrong_words_are_wrong_usage(words, command, tmp_path) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(tmp_path / "report", *words)
