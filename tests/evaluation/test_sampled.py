"""Test results that the command makes: bicubic, a model with every option, patches, seeds, failures, and the suite."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest

from jaxsr.cli import evaluate
from jaxsr.cli import evaluate_request as request
from jaxsr.evaluation import external, methods, suite
from jaxsr.evaluation.methods import enlarge_bicubic
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.result import Result
from jaxsr.metrics.catalogue import METRICS
from jaxsr.upscaling import upscaler as upscaler_module
from jaxsr.upscaling.upscaler import Upscaler
from tests.evaluation.pictures import mean_square, picture, save


@pytest.fixture
def hr(tmp_path):
    """Write three originals; return their folder."""
    for i, name in enumerate("abc"):
        save(tmp_path / "hr" / f"{name}.png", picture(i))
    return tmp_path / "hr"


@pytest.fixture
def fake(small_upscalers, monkeypatch):
    """Replace the model with one whose results depend on all its arguments; return the list of these arguments."""
    calls = []

    def upscale(self, image, *, seed, reference=None, reference_box=None, **options):
        record = {"seed": seed, "box": reference_box} | options
        calls.append(record | {"shape": image.shape, "reference": reference})
        noise = np.random.default_rng(crc32(repr(record).encode())).uniform(-0.05, 0.05, (4, 4, 3))
        big = image.repeat(4, 0).repeat(4, 1)
        return np.clip(big + np.tile(noise, (image.shape[0], image.shape[1], 1)), 0, 1).astype(np.float32)

    def apply(options, preset, calibration, *, reference):
        return replace(options, alpha=0.1 * len(preset))

    upscaler = small_upscalers["channel"]
    monkeypatch.setattr(Upscaler, "upscale", upscale)
    monkeypatch.setattr(Upscaler, "find_calibration", lambda *_: SimpleNamespace(calibration=None, path=None))
    monkeypatch.setattr(methods, "apply_knob_preset", apply)
    known = lambda self, options, alphas, preset, calibration: ["preset vivid lost 3 dB"] if preset == "vivid" else []  # noqa: E731
    monkeypatch.setattr(Upscaler, "knob_notes", known)
    monkeypatch.setattr(request, "load", lambda name, accept_license: upscaler)
    monkeypatch.setattr(upscaler_module, "load", lambda name, accept_license: upscaler)
    return calls


def made(hr: Path, *more: object, name: str = "r.json", model: str = "small") -> Result:
    output = hr.parent / name
    words = ("-n", model, "--dataset", hr, "-o", output, "-m", "psnr", *more)
    assert evaluate.main([str(word) for word in words]) == 0
    return Result.read(output)


def means(result: Result) -> float:
    return result.metrics["psnr"]["mean"]


def test_bicubic_is_made_of_the_shrunk_original(hr):
    result = made(hr, "--protocol", "rgb", model="bicubic")
    from jaxsr.imaging.resize import downsample_bicubic_uint8

    big = np.clip(np.rint(255 * enlarge_bicubic(downsample_bicubic_uint8(picture(0), 4), 4)), 0, 255)
    expected = 10 * np.log10(255**2 / mean_square(big, picture(0)))
    assert result.images[0]["psnr"] == pytest.approx(expected, rel=1e-5)
    assert (result.name, result.method) == ("bicubic", {"kind": "bicubic"})
    assert result.metrics["psnr"]["seeds"] is None


@pytest.mark.parametrize(
    "words",
    [
        ("--steps", "1"),
        ("--sampler", "deterministic"),
        ("--precision", "bf16"),
        ("--thinning", "released"),
        ("--tile", "32x16"),
        ("--overlap", "0"),
        ("--blend", "mean"),
        ("--tile-noise", "fresh"),
        ("--like", "resshift-64"),
        ("--through", "state"),
        ("--reference-variance", "marginal"),
        ("--alpha", "-0.2,0.1"),
        ("--preset", "vivid"),
        ("--hr-guidance",),
        ("--seeds", "5"),
    ],
    ids=" ".join,
)
def test_every_option_reaches_the_model_and_the_result(hr, fake, words):
    base = ("--alpha", "0.1") if words[0] in ("--through", "--reference-variance") else ()
    plain, changed = made(hr, *base), made(hr, *base, *words, name="changed.json")
    assert means(plain) != means(changed)
    assert (plain.method, plain.seeds) != (changed.method, changed.seeds)
    assert plain.protocol_sha256 == changed.protocol_sha256
    assert changed.name != plain.name or words[0] == "--seeds"


def test_hr_guidance_has_the_original_all_over(hr, fake):
    made(hr, "--hr-guidance", "--limit", 1)
    np.testing.assert_array_equal(fake[0]["reference"], picture(0))
    assert fake[0]["box"] == (0, 0, 12, 8)


def test_every_seed_is_a_sample_and_an_interval(hr, fake):
    result = made(hr, "--seeds", 0, 1, 2, 1)
    assert result.seeds == [0, 1, 2]
    assert len(result.images) == 9
    low, high = result.metrics["psnr"]["seeds"]
    assert low < means(result) < high
    one = made(hr, "--seeds", 1, name="one.json")
    assert [r["psnr"] for r in one.images] == [r["psnr"] for r in result.images if r["seed"] == 1]


def test_patches_are_sampled_one_by_one(hr, fake, tmp_path):
    (tmp_path / "p.json").write_text('{"name": "p", "about": "", "border": 0, "crop": 8, "patches": 2}')
    result = made(hr, "--protocol", tmp_path / "p.json")
    assert {call["shape"] for call in fake} == {(4, 4, 3)}
    assert [(row["image"], row["patch"]) for row in result.images[:5]] == [("a", i) for i in range(4)] + [("b", 0)]
    assert result.data["images"] == 3
    assert result.metrics["psnr"]["n"] == 12


def test_one_failure_does_not_lose_the_rest_and_is_tried_again(hr, fake, monkeypatch, capsys):
    upscale = Upscaler.upscale

    def broken(self, image, **options):
        if np.allclose(image, small):
            raise ArithmeticError("not finite")
        return upscale(self, image, **options)

    from jaxsr.imaging.resize import downsample_bicubic_uint8

    small = downsample_bicubic_uint8(picture(1), 4) / np.float32(255)
    with monkeypatch.context() as patch:
        patch.setattr(Upscaler, "upscale", broken)
        words = ["-n", "small", "--dataset", str(hr), "-m", "psnr", "-o", str(hr.parent / "r.json")]
        assert evaluate.main(words) == 3
    assert "failed: b: not finite" in capsys.readouterr().err
    assert {row["image"] for row in Result.read(hr.parent / "r.json").images} == {"a", "c"}
    fake.clear()
    assert evaluate.main(words) == 0
    assert len(fake) == 1


def test_a_data_set_has_to_be_named(hr, capsys):
    assert evaluate.main(["-n", "bicubic", "-o", str(hr.parent / "r.json")]) == 1
    assert "--dataset: give the images to enlarge" in capsys.readouterr().err


def test_a_model_of_another_scale_is_refused(hr, fake, tmp_path, capsys):
    (tmp_path / "p.json").write_text('{"name": "x2", "about": "", "scale": 2}')
    words = [
        "-n",
        "small",
        "--dataset",
        str(hr),
        "--protocol",
        str(tmp_path / "p.json"),
        "-o",
        str(tmp_path / "r.json"),
    ]
    assert evaluate.main(words) == 1
    assert "--protocol: x2 is for scale 2, but the model's scale is 4" in capsys.readouterr().err


@pytest.fixture
def sets(tmp_path, monkeypatch, fake):
    """Return a function that runs the suite on two small sets, with a calibration of three presets."""
    for i in range(5):
        save(tmp_path / "data" / "set5" / f"{i}.png", picture(i))
        save(tmp_path / "data" / "set14" / f"{i}.png", picture(5 + i))
    monkeypatch.setattr(suite, "PROTOCOLS", dict.fromkeys(("set5", "set14"), "rgb"))
    presets = {name: {} for name in suite.PRESETS}
    found = SimpleNamespace(calibration=SimpleNamespace(presets=presets), path=None)
    monkeypatch.setattr(Upscaler, "find_calibration", lambda *_: found)

    def run_it(*more: object) -> int:
        words = ("suite", "--data", tmp_path / "data", "-o", tmp_path / "out", "--sets", "set5", "set14", "-m", "psnr")
        return evaluate.main([str(word) for word in (*words, "--steps", 1, 2, "--limit", 2, *more)])

    return run_it


def test_the_suite_puts_all_methods_side_by_side(sets, tmp_path, fake):
    assert sets() == 0
    text = (tmp_path / "out" / "table.md").read_text()
    assert text.count("## ") == 2
    rows = [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.startswith("| ")]
    guided = [f"LR guidance, {name}" for name in suite.PRESETS]
    assert rows[1:8] == ["bicubic", "plain, 1 steps", "plain, 2 steps", *guided, "HR guidance, 1 steps"]
    assert "mean difference to plain, 1 steps" in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "set5",
        "set14",
        "table.md",
        "table.csv",
        "table.tex",
    }
    images = {row["image"] for row in Result.read(tmp_path / "out/set5/bicubic.json").images}
    assert images == {"0", "2"}  # the images are spread over the set
    fake.clear()
    assert sets() == 0
    assert fake == []  # all there already


@pytest.mark.parametrize(("limit", "count"), [(20, 100), (60, 100), (10, 14), (13, 14), (14, 14), (20, 14), (1, 9)])
def test_a_limited_set_is_spread_over_all_of_it(limit, count):
    found = [int(item.name) for item in suite.spread([Item(str(i)) for i in range(count)], limit)]
    assert len(found) == min(limit, count)
    assert found[0] == 0
    gaps = np.diff([*found, count])
    assert gaps.max() - gaps.min() <= (count % limit > 0)
    if (limit, count) == (20, 100):
        assert found == list(range(0, 100, 5))


def test_a_set_without_a_limit_is_whole():
    items = [Item("a"), Item("b")]
    assert suite.spread(items, None) == items
    assert suite.spread([], 3) == []


def test_a_suite_can_have_one_protocol_for_all_sets(sets, tmp_path, capsys):
    assert sets("--protocol", "plain") == 0
    results = [Result.read(path) for path in (tmp_path / "out").glob("*/*.json")]
    assert {result.protocol["name"] for result in results} == {"plain"}
    assert sets() == 1  # now with the sets' own protocols
    assert "is of other images, options or metrics" in capsys.readouterr().err
    (tmp_path / "x2.json").write_text(json.dumps({"name": "x2", "about": "", "scale": 2}))
    assert sets("--protocol", tmp_path / "x2.json") == 1
    assert "--protocol: x2 is for scale 2, but the model's scale is 4" in capsys.readouterr().err


def test_a_suite_of_other_choices_is_not_mixed_in(sets, capsys):
    assert sets() == 0
    assert sets("--seeds", 1) == 1
    assert "is of other images, options or metrics" in capsys.readouterr().err


def test_a_suite_does_not_take_results_of_other_pixels(sets, tmp_path, capsys):
    assert sets() == 0
    save(tmp_path / "data" / "set5" / "0.png", picture(9))
    assert sets() == 1
    assert "bicubic.json: is of other images" in capsys.readouterr().err


def test_a_suite_does_not_take_results_of_other_weights(sets, monkeypatch, capsys):
    assert sets() == 0
    psnr = METRICS["psnr"]
    monkeypatch.setitem(METRICS, "psnr", replace(psnr, describe=lambda how: f"of other weights, {psnr.describe(how)}"))
    assert sets() == 1
    assert "is of other images, options or metrics" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("maniqa",)], ids=["ours", "another library's too"])
def test_a_suite_scores_what_was_missing_once_it_can_be_had(sets, monkeypatch, fake, tmp_path, more):
    here = []
    ours = replace(METRICS["psnr"], describe=lambda how: f"ours{', weights 1' if here else ''}")
    monkeypatch.setitem(METRICS, "lpips", replace(ours, missing=lambda how: None if here else "no weights"))
    monkeypatch.setattr(external, "score_external", lambda names, *_, **__: dict.fromkeys(names, "no pyiqa"))
    sets("-m", "psnr", "lpips", *more)
    assert Result.read(tmp_path / "out/set5/bicubic.json").without == ["lpips", *more]
    fake.clear()
    sets("-m", "psnr", "lpips", *more)
    assert fake == []  # still missing, so nothing is done again
    here.append(True)
    sets("-m", "psnr", "lpips", *more)
    assert fake
    found = Result.read(tmp_path / "out/set5/bicubic.json").metrics
    assert found["lpips"]["mean"] == found["psnr"]["mean"]
    fake.clear()
    sets("-m", "psnr", "lpips", *more)
    assert fake == []


def test_a_suite_asks_another_library_again_without_sampling_again(sets, monkeypatch, fake, tmp_path):
    def score_external(names, files, *args, **options):
        asked.append(len(files))
        return dict.fromkeys(names, "no pyiqa")

    asked = []
    monkeypatch.setattr(external, "score_external", score_external)
    sets("-m", "psnr", "maniqa")
    fake.clear()
    sets("-m", "psnr", "maniqa")
    assert (fake, len(set(asked[:14])), len(asked)) == ([], 1, 28)
