"""Test protocols: those bundled with jaxsr, the user's own files, their hash, and the images that they accept."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jaxsr.evaluation.images import read_picture
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.pin import pinned
from jaxsr.evaluation.protocol_files import known_protocols, load_protocol
from jaxsr.evaluation.protocols import Protocol, ProtocolError, pixel_hash
from jaxsr.metrics import niqe_model
from tests.evaluation.pictures import picture, save

PLAIN = Protocol(name="mine", about="a test")


def write(tmp_path, **content):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"name": "mine", "about": "a test"} | content))
    return str(path)


@pytest.mark.parametrize("name", known_protocols())
def test_every_protocol_reads_and_is_called_as_its_file(name):
    protocol = load_protocol(name)
    assert protocol.name == name
    assert all(len(sha256) == 64 for sha256 in (*protocol.images.values(), *protocol.lr_images.values()))


def test_the_published_sets_and_the_paper_have_their_conventions():
    table = load_protocol("paper-table2")
    assert (table.crop, table.patches, len(table.metrics)) == (256, 2, 8)
    for name, count in (("set5", 5), ("set14", 14), ("div2k-sub", 100), ("realsr-sub", 100)):
        protocol = load_protocol(name)
        assert (len(protocol.images), protocol.colour, protocol.border) == (count, "y", 4)


def test_a_file_is_read_and_unknown_names_are_listed(tmp_path):
    assert load_protocol(write(tmp_path, border=2, metrics=["psnr"])) == replace(PLAIN, border=2, metrics=("psnr",))
    with pytest.raises(ProtocolError, match=r"no 'xyz'; give one of .*set5, .*or the path of a JSON file"):
        load_protocol("xyz")
    with pytest.raises(ProtocolError, match="there is no file"):
        load_protocol(str(tmp_path / "other.json"))


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("realsr", "realsr-sub"),
        ("DIV2K", "div2k-sub"),
        ("sett5", "set5"),
        ("paper", "paper-table2"),
        ("Set14", "set14"),
    ],
)
def test_a_name_that_is_nearly_right_gets_a_hint(asked, meant):
    with pytest.raises(ProtocolError, match=rf"no '{asked}' \(did you mean {meant}\?\); give one of"):
        load_protocol(asked)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"colour": "lab"}, 'colour is \'lab\'; use one of "rgb", "y"'),
        ({"grey_luma": "no"}, "grey_luma is 'no'"),
        ({"bits": 10}, "bits is 10"),
        ({"border": -1}, "border must be a whole number from 0 up"),
        ({"scale": 0}, "scale must be a whole number from 1 up"),
        ({"crop": 10, "patches": 3}, "3 patches a side do not divide the crop 10"),
        ({"patches": 2}, "do not divide the crop None"),
        ({"colours": "y"}, "a protocol has no colours"),
        ({"metrics": "psnr"}, 'metrics must be a list of names, not "psnr"'),
        ({"round_luma": "no"}, 'round_luma must be true or false, not "no"'),
        ({"images": []}, r"images must be an object of names, not \[\]"),
        ({"variants": 1}, "variants must be an object of names, not 1"),
        ({"variants": {"nique": {}}}, r"variants: there is no metric 'nique' \(did you mean niqe\?\)"),
        ({"variants": {"niqe": "grey"}}, 'variants.niqe must be an object, not "grey"'),
        ({"variants": {"niqe": {"luma": "xx"}}}, r'variants\.niqe\.luma is "xx"; use one of "ycbcr", "grey"'),
        ({"variants": {"niqe": {"luma": []}}}, r"variants\.niqe\.luma is \[\]; use one of"),
        (
            {"variants": {"niqe": {"lume": "grey"}}},
            r"variants\.niqe\.lume: niqe has no such variant; it has luma, model",
        ),
        ({"variants": {"lpips": {"net": "resnet"}}}, r'variants\.lpips\.net is "resnet"; use one of "alex", "vgg"'),
        ({"variants": {"ssim": {"luma": "y"}}}, r'variants\.ssim\.luma is "y"; use one of "rounded"'),
        ({"variants": {"ssim": {"contrast": 1}}}, r'variants\.ssim\.contrast is 1; use one of "clipped"'),
        ({"variants": {"psnr": {"luma": "y"}}}, r"variants\.psnr\.luma: psnr has no such variant; it has none"),
        ({"variants": {"niqe": {"model": "none.mat"}}}, r"variants\.niqe\.model: there is no file none\.mat; give its"),
        ({"variants": {"niqe": {"model": "."}}}, r'variants\.niqe\.model is "\.", which cannot be read as a model'),
        ({"variants": {"niqe": {"model": 3}}}, r"variants\.niqe\.model is 3; give the path of a file in quotes"),
    ],
    ids=str,
)
def test_bad_values_are_refused_in_a_sentence(tmp_path, content, message):
    with pytest.raises(ProtocolError, match=message) as error:
        load_protocol(write(tmp_path, **content))
    assert "mine" in str(error.value)  # the file, or its name
    assert "\n" not in str(error.value)


def test_variants_that_metrics_have_are_taken(tmp_path):
    niqe = {"luma": "grey", "model": str(niqe_model.BUNDLED)}
    variants = {"niqe": niqe, "lpips": {"net": "vgg"}, "maniqa": {"metric": "maniqa-pipal"}}
    assert load_protocol(write(tmp_path, variants=variants)).variants == variants


def test_a_file_that_is_no_protocol_is_refused(tmp_path):
    (tmp_path / "no.json").write_text("[1")
    with pytest.raises(ProtocolError, match=r"no\.json: cannot be read as JSON"):
        load_protocol(str(tmp_path / "no.json"))
    (tmp_path / "no.json").write_text("[1]")
    with pytest.raises(ProtocolError, match="needs the fields name and about"):
        load_protocol(str(tmp_path / "no.json"))


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 2},
        {"colour": "rgb"},
        {"grey_luma": "full"},
        {"round_luma": True},
        {"border": 3},
        {"bits": None},
        {"crop": 8},
        {"crop": 8, "patches": 2},
        {"seed": 1},
    ],
    ids=str,
)
def test_all_that_changes_numbers_changes_the_hash(change):
    images = {"a": "1"}
    assert replace(PLAIN, **change).hash(images) != PLAIN.hash(images)


def test_the_hash_is_of_the_images_and_not_of_names():
    assert PLAIN.hash({"a": "1"}) != PLAIN.hash({"a": "2"})
    assert PLAIN.hash({"a": "1"}) != PLAIN.hash({"b": "1"})
    renamed = replace(PLAIN, name="other", about="", metrics=("psnr",), dataset="set5", images={"a": "1"})
    assert renamed.hash({"a": "1"}) == PLAIN.hash({"a": "1"})
    assert PLAIN.hash({"a": "1", "b": "2"}) == PLAIN.hash({"b": "2", "a": "1"})


def test_pixels_have_one_hash_in_every_lossless_format(tmp_path):
    pixels = picture(0)
    for name in ("x.png", "x.bmp", "x.tif"):
        assert pixel_hash(read_picture(save(tmp_path / name, pixels)).pixels) == pixel_hash(pixels)
    Image.fromarray(pixels).save(tmp_path / "x.webp", lossless=True)
    assert pixel_hash(read_picture(tmp_path / "x.webp").pixels) == pixel_hash(pixels)
    assert pixel_hash(pixels) != pixel_hash(pixels.astype(np.uint16))
    assert pixel_hash(pixels) != pixel_hash(pixels.reshape(48, 32, 3))


def test_a_pinned_protocol_holds_for_its_pixels_alone(tmp_path):
    items = [Item("a", save(tmp_path / "a.png", picture(0)), save(tmp_path / "lr" / "a.png", picture(1)))]
    (tmp_path / "mine.json").write_text(pinned(replace(PLAIN, border=2), items, "pinned"))
    protocol = load_protocol(str(tmp_path / "mine.json"))
    assert (protocol.name, protocol.border) == ("pinned", 2)
    assert protocol.check("a", picture(0)) == protocol.images["a"]
    assert protocol.check("a", picture(1), lr=True) == protocol.lr_images["a"]
    with pytest.raises(
        ProtocolError,
        match=r"original a has other pixels than protocol pinned \(it has 40x64 pixels\); .*\(a test\): docs.*plain",
    ):
        protocol.check("a", picture(2, 64, 40))
    with pytest.raises(ProtocolError, match=r"LR image b is not in the list of protocol pinned"):
        protocol.check("b", picture(1), lr=True)


@pytest.mark.parametrize(("name", "size"), [("div2k-sub", "256x256"), ("realsr-sub", "512x512")])
def test_whole_images_under_a_protocol_of_crops_are_told_what_is_wanted(name, size):
    protocol = load_protocol(name)
    first = next(iter(protocol.images))
    with pytest.raises(ProtocolError) as error:
        protocol.check(first, picture(0, 96, 160))
    said = str(error.value)
    assert (
        f"original {first} has other pixels than protocol {name} (it has 160x96 pixels); this protocol accepts only"
        in said
    )
    assert size in said
    assert all(words in said for words in ("docs/evaluation.md", "--protocol plain", "python -m jaxsr.evaluate pin"))
