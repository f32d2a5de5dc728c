"""Test our own metrics under a protocol: against NumPy, for any batch, and on images that a metric cannot score."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.evaluation import scoring
from jaxsr.evaluation.images import Pair
from jaxsr.evaluation.metrics import MetricError, check_metrics, default_metrics, describe
from jaxsr.evaluation.protocols import Protocol
from jaxsr.evaluation.scoring import Scorer
from jaxsr.metrics import texture
from jaxsr.metrics.catalogue import METRICS
from jaxsr.metrics.lpips import lpips
from jaxsr.runtime import device_memory
from tests.evaluation.pictures import mean_square, noisy, picture
from tests.metrics.perceptual_weights import random_params

PLAIN = Protocol(name="p", about="", border=0)
LUMA = np.array([65.481, 128.553, 24.966]) / 255


def pair(seed: int = 0, amount: int = 10, size: tuple[int, int] = (32, 48), grey: bool = False) -> Pair:
    hr = picture(seed, *size)
    if grey:
        hr = hr[..., :1].repeat(3, -1)
    sr = noisy(hr[..., :1], amount).repeat(3, -1) if grey else noisy(hr, amount)
    return Pair("a", 0, hr, hr[::4, ::4], sr, grey)


def psnr_of(protocol: Protocol, one: Pair) -> float:
    value = Scorer(("psnr",), protocol).score([one])[0]["psnr"]
    assert value is not None
    return value


def decibels(mse: float) -> float:
    return 10 * np.log10(255**2 / mse)


@pytest.mark.parametrize("border", [0, 5])
def test_psnr_is_that_of_numpy_under_every_choice(border):
    one, inner = pair(), np.s_[border : 32 - border, border : 48 - border]
    sr, hr = one.sr[inner].astype(float), one.hr[inner].astype(float)
    y = sr @ LUMA, hr @ LUMA
    plain = replace(PLAIN, border=border)
    cases = {
        "rgb": (replace(plain, colour="rgb"), decibels(mean_square(sr, hr))),
        "y": (plain, decibels(mean_square(*y))),
        "rounded": (replace(plain, round_luma=True), decibels(mean_square(*(np.rint(16 + v) for v in y)))),
    }
    found = {name: psnr_of(protocol, one) for name, (protocol, _) in cases.items()}
    np.testing.assert_allclose(list(found.values()), [expected for _, expected in cases.values()], rtol=1e-5)
    assert len({round(value, 3) for value in found.values()}) == 3


def test_settings_of_ssim_change_its_number_and_its_words():
    opposite = pair()
    opposite = replace(opposite, sr=255 - opposite.hr)
    cases = [{}, {"luma": "rounded"}, {"contrast": "clipped"}]
    protocols = [replace(PLAIN, variants={"ssim": settings}) for settings in cases]
    numbers = [Scorer(("ssim",), protocol).score([opposite])[0]["ssim"] for protocol in protocols]
    assert len(set(numbers)) == len({describe("ssim", protocol) for protocol in protocols}) == 3
    rounded = replace(PLAIN, round_luma=True)
    assert Scorer(("ssim",), rounded).score([opposite])[0]["ssim"] == numbers[1]
    assert describe("ssim", rounded) == describe("ssim", protocols[1])


def test_grey_files_at_full_range_are_their_own_luma():
    one = pair(grey=True)
    full, reduced = psnr_of(replace(PLAIN, grey_luma="full"), one), psnr_of(PLAIN, one)
    np.testing.assert_allclose(full, decibels(mean_square(one.sr, one.hr)), rtol=1e-5)
    np.testing.assert_allclose(reduced - full, 20 * np.log10(255 / 219), atol=1e-3)
    coloured = replace(one, grey=False)
    assert psnr_of(replace(PLAIN, grey_luma="full"), coloured) == reduced


def test_floats_that_are_not_rounded_are_compared_as_they_are():
    one = pair()
    exact = replace(one, sr=(one.hr / np.float32(255) + np.float32(0.001)), hr=one.hr / np.float32(255))
    np.testing.assert_allclose(psnr_of(replace(PLAIN, colour="rgb", bits=None), exact), 60, atol=0.05)


def test_numbers_do_not_depend_on_batch_or_order(monkeypatch):
    monkeypatch.setattr(texture, "PATCHES", 64)
    pairs = [pair(0), pair(1, 6, size=(24, 32)), pair(2, 14), pair(3, 20)]
    names = ("psnr", "swd", "lr_consistency")
    whole = Scorer(names, PLAIN, batch=8).score(pairs)
    single = Scorer(names, PLAIN, batch=1).score(pairs[::-1])[::-1]
    for one, other in zip(whole, single, strict=True):
        np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-5)
    assert len({row["psnr"] for row in whole}) == 4


@pytest.mark.parametrize(("inputs", "calls"), [(0, [1, 1, 1, 1]), (3, [3, 1]), (1000, [4])])
def test_auto_takes_as_many_pairs_as_the_memory_holds(monkeypatch, inputs, calls):
    pairs, made, score = [pair(seed) for seed in range(4)], [], Scorer._score_equal
    monkeypatch.setattr(Scorer, "_score_equal", lambda self, some: made.append(len(some)) or score(self, some))
    scorer = Scorer(("psnr",), PLAIN, batch="auto")
    expected = Scorer(("psnr",), PLAIN).score(pairs)
    scorer._most(pairs[0])
    (needed,) = scorer._kept.values()
    monkeypatch.setattr(device_memory, "free_memory", lambda: int(2 * (inputs + 0.5) * needed))
    made.clear()
    assert scorer.score(pairs) == expected
    assert made == calls


def test_swd_has_the_protocols_seed(monkeypatch):
    monkeypatch.setattr(texture, "PATCHES", 64)
    first, second = (Scorer(("swd",), replace(PLAIN, seed=seed)).score([pair()])[0]["swd"] for seed in (0, 1))
    assert first != second


def test_an_image_too_small_for_a_metric_has_no_number_and_a_reason():
    scorer = Scorer(("psnr", "ms_ssim"), PLAIN)
    (row,) = scorer.score([pair()])
    assert row["ms_ssim"] is None
    assert row["psnr"] is not None
    assert "161 pixels" in scorer.reasons["ms_ssim"]


def test_a_network_is_read_once_for_images_of_all_sizes(monkeypatch):
    read, params = [], random_params("lpips-alex")
    monkeypatch.setattr(scoring, "load_perceptual", lambda name: read.append(name) or params)
    pairs = [pair(0), pair(1, size=(40, 36))]
    found = Scorer(("lpips", "psnr"), PLAIN).score(pairs)
    assert read == ["lpips-alex"]
    for row, one in zip(found, pairs, strict=True):
        sr, hr = (jnp.asarray(np.asarray(image)[None] / np.float32(255)) for image in (one.sr, one.hr))
        assert row["lpips"] == pytest.approx(float(jax.jit(lpips)(sr, hr, params)[0]), rel=1e-5)


def test_a_number_that_is_not_finite_is_none_with_a_reason():
    flat = replace(pair(), hr=np.full((32, 48, 3), 99, np.uint8))
    scorer = Scorer(("hf_ratio",), PLAIN)
    assert scorer.score([flat])[0]["hf_ratio"] is None
    assert scorer.reasons["hf_ratio"] == "a: inf"


def test_equal_images_have_a_finite_psnr():
    one = pair()
    assert psnr_of(PLAIN, replace(one, sr=one.hr)) == 100.0


def test_metrics_that_cannot_be_measured_are_refused():
    with pytest.raises(MetricError, match=r"no 'psnt'; choose among psnr, ssim"):
        check_metrics(["psnt"], PLAIN, target=True, lr=True)
    with pytest.raises(MetricError, match="ssim needs the originals; give --target"):
        check_metrics(["niqe", "ssim"], PLAIN, target=False, lr=True)
    with pytest.raises(MetricError, match="lr_consistency needs the LR images; give --lr"):
        check_metrics(["lr_consistency"], PLAIN, target=True, lr=False)
    with pytest.raises(MetricError, match="psnr has no variant colour; it has none of its own"):
        check_metrics(["psnr"], replace(PLAIN, variants={"psnr": {"colour": "rgb"}}), target=True, lr=True)
    assert check_metrics(["ssim", "psnr", "ssim"], PLAIN, target=True, lr=True) == ("ssim", "psnr")
    assert default_metrics(PLAIN, target=False, lr=False) == ("niqe",)


@pytest.mark.parametrize("name", ["psnr", "ssim", "ms_ssim", "niqe", "swd", "lpips"])
def test_words_tell_every_choice(name):
    changes = {"border": 3, "colour": "rgb", "seed": 1, "bits": None}
    variants = {"niqe": {"luma": "grey"}, "lpips": {"net": "vgg"}}
    seen = {describe(name, replace(PLAIN, **{key: value})) for key, value in changes.items()}
    seen |= {describe(name, PLAIN), describe(name, replace(PLAIN, variants=variants))}
    assert len(seen) == {"niqe": 3, "swd": 2, "lpips": 2}.get(name, 4)
    assert METRICS[name].more_is_better is not None
