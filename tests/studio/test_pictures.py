"""Test that the pictures of the API are those of the sample command, byte by byte, and what is told about them."""

import json
import shlex
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from jaxsr.cli.sample import main
from tests.studio.client import grey_png, png


def run_command(line: str, files: dict[str, bytes], folder, monkeypatch) -> dict[str, bytes]:
    """Run a shown command line in a new folder with these files, and return the pictures that it writes."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    monkeypatch.chdir(folder)
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "jaxsr.sample"]
    assert main(words[3:]) == 0
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir() if path.suffix != ".json"}


def saved(size: tuple[int, int], kind: str, **settings) -> bytes:
    stream = BytesIO()
    with Image.open(BytesIO(png(size))) as image:
        image.save(stream, kind, **settings)
    return stream.getvalue()


def test_the_shown_command_makes_the_same_bytes(client, tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x8298] = "somebody"
    data = saved((70, 40), "JPEG", quality=90, exif=exif)
    photo = client.photo("My%20holiday.JPG", data)
    found = client.make(photo=photo["id"], knob={"position": 75}, seed=3, samples=2, quality=80)
    line = found["results"][1]["command"]  # of the second sample, which makes the first one too
    made = run_command(line, {"My holiday.JPG": data}, tmp_path / "again", monkeypatch)
    for result in found["results"]:
        picture = client.get(result["picture"])
        assert picture.body == made[result["name"]]
        assert b"somebody" in picture.body  # the metadata is kept
    names = [result["name"] for result in found["results"]]
    assert names == ["My holiday_0.JPG", "My holiday_1.JPG"]
    first, second = (client.get(result["picture"]) for result in found["results"])
    assert second.headers["content-disposition"].startswith('attachment; filename="My holiday_1-large.JPG"')
    assert first.body != second.body


def test_the_guide_files_are_named_in_the_command(client, tmp_path, monkeypatch):
    data, values = png((40, 32)), np.zeros((32, 40))
    values[:, 20:] = 255
    stream = BytesIO()
    with Image.open(BytesIO(data)) as image:
        image.crop((8, 8, 24, 24)).resize((64, 64), Image.Resampling.BICUBIC).save(stream, "PNG")
    reference = stream.getvalue()
    ids = {"alpha_map": client.file(grey_png(values), "photo.png"), "reference": client.file(reference, "tele.png")}
    box = {"reference_box": [8, 8, 16, 16], "feather": 2, "format": "png"}
    photo = client.photo("photo.png", data)["id"]
    (result,) = client.make(photo=photo, knob={"preset": "vivid"}, **ids, **box)["results"]
    files = {"photo.png": data, "alpha-map-photo.png": grey_png(values), "tele.png": reference}
    made = run_command(result["command"], files, tmp_path / "again", monkeypatch)
    assert client.get(result["picture"]).body == made["photo.png"]
    record = client.get(result["sidecar"]).json
    assert record["files"] == {"alpha_map": "alpha-map-photo.png", "reference": "tele.png"}
    assert record["guidance"]["preset"] == "vivid"
    assert str(client.folder) not in json.dumps(record)


@pytest.mark.parametrize(("chosen", "name"), [("webp", "photo.webp"), ("tif", "photo.tif"), (None, "photo.png")])
def test_the_format_is_that_of_the_photo_or_the_chosen_one(client, chosen, name):
    result = client.make(photo=client.photo()["id"], format=chosen)["results"][0]
    assert result["name"] == name
    picture = client.get(result["picture"])
    with Image.open(BytesIO(picture.body)) as image:
        assert (image.format, image.size) == ({"tif": "TIFF"}.get(chosen or "", (chosen or "png").upper()), (80, 64))


def test_every_choice_changes_the_picture(client):
    photo, values = client.photo()["id"], np.zeros((16, 20))
    values[:8] = 255
    plain = {"photo": photo}
    ways = [
        plain,
        plain | {"seed": 1},
        plain | {"knob": {"position": 100}},
        plain | {"knob": {"preset": "faithful"}},
        plain | {"options": {"alpha": 0.4}},
        plain | {"options": {"steps": 1}},
        plain | {"options": {"sampler": "deterministic"}},
        plain | {"options": {"alpha": 0.4}, "alpha_map": client.file(grey_png(values))},
    ]
    made = [client.get(client.make(**way)["results"][0]["picture"]).body for way in ways]
    assert len(set(made)) == len(ways)


def test_metadata_and_quality_change_the_file(client):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    photo = client.photo("a.jpg", saved((20, 16), "JPEG", exif=exif))["id"]
    keep, strip, low = (
        client.get(client.make(photo=photo, **more)["results"][0]["picture"]).body
        for more in ({}, {"metadata": "strip"}, {"quality": 10})
    )
    assert b"maker" in keep
    assert b"maker" not in strip
    assert len(low) < len(keep)


def test_the_facts_of_a_result(client):
    data = png((20, 16))
    photo = client.photo(data=data)
    found = client.make(photo=photo["id"], knob={"position": 150})
    (result,) = found["results"]
    assert result["size"] == [80, 64]
    sidecar = client.get(result["sidecar"]).json
    assert result["lr_consistency_db"] == sidecar["lr_consistency_db"] > 0
    pixels = client.get(result["picture"]).pixels.astype(float)
    with Image.open(BytesIO(data)) as image:
        drift = np.abs(pixels.mean((0, 1)) - np.asarray(image).mean((0, 1))).max()
    assert result["colour_drift"] == pytest.approx(drift, abs=0.01)
    assert "lies outside of the calibrated range" in found["warnings"][0]
    assert result["guidance"]["alpha"] == [0.5, 0.2]
    assert "disagreement" not in found


def test_the_disagreement_is_the_standard_deviation_over_samples(client):
    found = client.make(photo=client.photo()["id"], samples=3)
    samples = np.stack([client.get(result["picture"]).pixels for result in found["results"]]).astype(float)
    spread = samples.std(0).mean(-1)
    assert found["disagreement"]["mean"] == pytest.approx(spread.mean(), abs=1e-3)
    shown = client.get(found["disagreement"]["picture"]).pixels
    assert np.abs(shown - np.clip(8 * spread, 0, 255)).max() <= 1
    assert shown.any()
    tile = client.get(f"{found['disagreement']['view']['tiles']}/0/0/0").pixels
    np.testing.assert_array_equal(tile, shown)


def test_the_view_of_a_result_is_the_result(client):
    found = client.make(photo=client.photo()["id"])
    (result,) = found["results"]
    tile = client.get(f"{result['view']['tiles']}/0/0/0")
    np.testing.assert_array_equal(tile.pixels, client.get(result["picture"]).pixels)
    assert "immutable" in tile.headers["cache-control"]
    for wrong in ("1/0/0", "0/1/0", "0/0/7"):
        assert client.get(f"{result['view']['tiles']}/{wrong}").status == 404
