"""Test the options of the sample command: each takes effect, and wrong ones are refused before any work."""

import shlex
from dataclasses import replace

import pytest

from jaxsr.choices import LIKES
from jaxsr.cli.sample import main, make_parser
from jaxsr.cli.shared_options import chosen_options
from jaxsr.models.presets import PRESETS
from jaxsr.options import Options, options_like
from jaxsr.upscaling import loading
from jaxsr.upscaling.tile_choice import tile_unit
from tests.cli.sampling import files, picture, run, sidecar
from tests.small_model import small_preset

pytestmark = pytest.mark.usefixtures("model")


@pytest.mark.parametrize(
    "words",
    [
        "",
        "-i x --seed -1",
        "-i x --seed 4294967296",
        "-i x --steps 0",
        "-i x --n-samples 0",
        "-i x --batch many",
        "-i x --tile big",
        "-i x --tile 0",
        "-i x --overlap -1",
        "-i x --projection 1.5",
        "-i x --temperature hot",
        "-i x --quality 101",
        "-i x --sampler euler",
        "-i x --thinning even",
        "-i x --thinning ends,5",
        "-i x --thinning 0,5.5",
        "-i x --tile 64x",
        "-i x --tile 64x0",
        "-i x --tile 64x64x64",
        "-i x --blend linear",
        "-i x --tile-noise none",
        "-i x --like sinsr",
        "-i x --like resshift --tile auto",
        "-i x --like resshift --overlap 0",
        "-i x --like resshift --blend mean",
        "-i x --like resshift --tile-noise fresh",
        "-i x --like resshift --ext jpg",
        "-i x --precision fp16",
        "-i x --ext gif",
        "-i x --suffix ../up",
        "-i x --over",
    ],
)
def test_wrong_usage_is_refused_by_the_name_of_the_option(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert (words.split()[2] if words else "-i") in error
    assert (words.split()[-2] if words else "-i") in error


def test_the_command_offers_what_the_library_has():
    parser, default = make_parser(), Options()
    photo, tiny = (tile_unit(PRESETS[name]) for name in ("photo_x4", "tiny_x4"))
    assert " ".join(parser.format_help().split()).count(f"a multiple of {photo} (tiny-x4: {tiny})") == 2
    assert chosen_options(parser.parse_args(["-i", "x"])) == default


FLAGS = {
    "steps": 1,
    "sampler": "heun",
    "thinning": "released",
    "tile": 32,
    "overlap": 16,
    "blend": "mean",
    "tile_noise": "fresh",
    "precision": "bf16",
    "seed": 4,
    "quality": 71,
    "alpha": 0.3,
    "temperature": 1.1,
    "projection": 0.5,
    "through": "state",
    "reference_variance": "marginal",
}


@pytest.mark.parametrize("name", FLAGS)
def test_every_sampling_flag_reaches_what_is_done_and_recorded(exact, tmp_path, name):
    picture(tmp_path / "a.jpg")
    words = [f"--{name.replace('_', '-')}", FLAGS[name]]
    words += ["--alpha", 0.1] if name in ("through", "reference_variance") else []
    assert run("-i", tmp_path / "a.jpg", "-o", tmp_path / "out", *words) == 0
    record = sidecar(tmp_path / "out/a.jpg")
    assert record["requested"][name] == record["options"][name] == FLAGS[name]


def test_rows_to_keep_are_recorded_and_stand_in_the_command(exact, tmp_path):
    picture(tmp_path / "a.jpg")
    assert run("-i", tmp_path / "a.jpg", "-o", tmp_path / "out", "--thinning", "0,2") == 0
    record = sidecar(tmp_path / "out/a.jpg")
    assert (record["options"]["thinning"], record["options"]["steps"]) == ([0, 2], 2)
    assert "--thinning=0,2" in record["command"]


def test_no_sampling_flag_is_left_out_above(exact, tmp_path):
    picture(tmp_path / "a.jpg")
    assert run("-i", tmp_path / "a.jpg", "-o", tmp_path / "out") == 0
    default = sidecar(tmp_path / "out/a.jpg")["requested"]
    # --n-samples counts samples; tests/cli/test_sample_guided.py tests the options of a reference.
    counted, elsewhere = {"sample"}, {"reference_mean", "reference_slope", "reference_offset"}
    assert default.keys() == FLAGS.keys() | counted | elsewhere
    assert not [name for name in FLAGS if default[name] == FLAGS[name]]


def test_a_tile_of_two_sides_is_width_and_height_as_everywhere_in_the_command(exact, tmp_path):
    picture(tmp_path / "a.png", (40, 20))
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out", "--tile", "32x16", "--overlap", 0) == 0
    record = sidecar(tmp_path / "out/a.png")
    assert record["options"]["tile"] == [16, 32]
    assert " --tile=32x16 " in record["command"]


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_batch_of_auto_is_asked_of_the_model_and_recorded_as_a_number(exact, tmp_path, monkeypatch, capsys, more):
    asked = []
    monkeypatch.setattr(type(exact), "auto_batch", lambda self, run, *rest: asked.append(run.plan.tile) or 3)
    measure = lambda self, size, options, batch, guide: (self.plan(size, options, batch, guide), 1.0, 1e6)  # noqa: E731
    monkeypatch.setattr(type(exact), "measure", measure)
    picture(tmp_path / "a.png", (40, 20))
    words = ("--batch", "auto", "--tile", "16", "--overlap", 0, *more)
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out", *words) == 0
    assert set(asked) == {(16, 16)}
    if more:
        assert "6 tiles of 16, 1 MB for the network" in (said := capsys.readouterr().out)
        assert "about 2.0 s" in said  # of two calls
    else:
        record = sidecar(tmp_path / "out/a.png")
        assert (record["requested_batch"], record["batch"]) == ("auto", 3)
        assert "--batch=3" in record["command"].split()


@pytest.mark.parametrize("like", LIKES)
def test_like_chooses_all_that_the_released_tool_has_and_writes_png(exact, tmp_path, like):
    picture(tmp_path / "a.jpg")
    assert run("-i", tmp_path / "a.jpg", "-o", tmp_path / "out", "--like", like) == 0
    record, fields = sidecar(tmp_path / "out/a.png"), options_like(like)
    assert {name: record["requested"][name] for name in fields} == fields
    used = shlex.split(record["command"])
    assert {"--tile=8", "--overlap=0", "--blend=mean", "--tile-noise=fresh", "--ext=png"} <= set(used)
    assert not [word for word in used if word.startswith("--like")]


@pytest.mark.parametrize(("words", "expected"), [("", ("photo-x4", False)), ("-n x --accept-license", ("x", True))])
def test_the_model_and_the_consent_are_those_of_the_command(exact, tmp_path, monkeypatch, words, expected):
    calls = []
    load = lambda name, *, accept_license: calls.append((name, accept_license)) or exact  # noqa: E731
    monkeypatch.setattr(loading, "load", load)
    picture(tmp_path / "a.png")
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out", *words.split()) == 0
    assert calls == [expected]


def test_known_models_are_listed_with_their_licences(capsys):
    assert main(["--list-models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("tiny-x4 ") and line.endswith("CC BY-SA 4.0") for line in lines)
    assert any("sinsr-v1" in line and "(non-commercial)" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [("--steps 5", "steps: .*4 steps"), ("--tile 36", "tile: .*multiple of 8"), ("--tile 32 --overlap 40", "overlap")],
)
def test_what_does_not_fit_the_model_is_refused_before_any_work(exact, tmp_path, capsys, words, message):
    picture(tmp_path / "a.png")
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out", *words.split()) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert files(tmp_path) == ["a.png"]


def test_a_model_that_needs_a_mask_is_refused(model, tmp_path, capsys, monkeypatch):
    masked = replace(model, preset=small_preset(cond_mask=True))
    monkeypatch.setattr(loading, "load", lambda *_, **__: masked)
    picture(tmp_path / "a.png")
    assert run("-i", tmp_path / "a.png", "-o", tmp_path / "out") == 1
    assert "mask" in capsys.readouterr().err


def test_an_output_that_is_a_file_is_refused_before_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loading, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    for name in "ab":
        picture(tmp_path / f"in/{name}.png")
    assert run("-i", tmp_path / "in", "-o", tmp_path / "in/a.png") == 1
    out, err = capsys.readouterr()
    problem = f"{tmp_path / 'in/a.png'} is one file, but there would be 2 results; give a folder."
    assert (out, err) == ("", f"error: --output: {problem}\n")


@pytest.mark.parametrize("names", [["a.png", "b/a.png"], ["a.png", "a.bmp"]])
def test_two_inputs_of_one_result_are_refused_before_work(tmp_path, capsys, monkeypatch, names):
    monkeypatch.setattr(loading, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    for name in names:
        picture(tmp_path / name)
    assert run("-i", *(tmp_path / name for name in names), "-o", tmp_path / "out") == 1
    assert "would both be written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
