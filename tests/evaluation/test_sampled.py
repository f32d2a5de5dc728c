"""Test results that the command makes: bicubic, a model with every option, patches, seeds, failures, and the suite."""

from pathlib import Path

import numpy as np
import pytest

from jaxsr.cli import evaluate
from jaxsr.evaluation.methods import enlarge_bicubic
from jaxsr.evaluation.result import Result
from jaxsr.upscaling.upscaler import Upscaler
from tests.evaluation.pictures import mean_square, picture, save


@pytest.fixture
def hr(tmp_path):
    """Write three originals; return their folder."""
    for i, name in enumerate("abc"):
        save(tmp_path / "hr" / f"{name}.png", picture(i))
    return tmp_path / "hr"


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
        ("--thinning", "0,2"),
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
