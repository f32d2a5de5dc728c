"""Test a model for inpainting: looks and pictures keep the known pixels, and the page has the tool only for it."""

import json
import shlex
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from jaxsr.cli.sample import main
from tests.studio.client import grey_png, png

MASK = np.zeros((64, 64))
MASK[10:30, 20:50] = 255


def test_the_knob_says_that_the_model_takes_a_mask(painting, client):
    assert painting.get("/api/knob").json["mask"] is True
    assert painting.get("/api/knob").json["scale"] == 1
    assert client.get("/api/knob").json["mask"] is False


@pytest.mark.slow
def test_known_pixels_are_kept_and_the_command_makes_the_same_bytes(painting, tmp_path, monkeypatch):
    data = png((64, 64))
    photo, mask = painting.photo("a.png", data)["id"], painting.file(grey_png(MASK), "a-mask.png")
    (result,) = painting.make(photo=photo, mask=mask)["results"]
    picture = painting.get(result["picture"])
    with Image.open(BytesIO(data)) as image:
        known = np.asarray(image)
    np.testing.assert_array_equal(picture.pixels[MASK == 0], known[MASK == 0])
    assert (picture.pixels[MASK > 0] != known[MASK > 0]).any()
    assert result["lr_consistency_db"] is None
    (tmp_path / "a.png").write_bytes(data)
    (tmp_path / "a-mask.png").write_bytes(grey_png(MASK))
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(result["command"])[3:]) == 0
    assert (tmp_path / "out/a.png").read_bytes() == picture.body
    look = painting.send("POST", "/api/looks", {"photo": photo, "at": [32, 32], "mask": mask})
    assert look.status == 200, look.body
    x, y, width, height = json.loads(look.headers["x-jaxsr-look"])["window"]
    place = slice(y, y + height), slice(x, x + width)
    np.testing.assert_array_equal(look.pixels[MASK[place] == 0], known[place][MASK[place] == 0])


def test_a_mask_is_demanded_and_refused_in_one_sentence(painting, client):
    photo = painting.photo()["id"]
    answer = painting.send("POST", "/api/looks", {"photo": photo, "at": [0, 0]})
    assert answer.status == 422
    assert "mask: the model" in answer.json["error"]
    assert "mask: the model" in painting.wait(painting.job(photo=photo)["id"])["error"]
    other = client.job(photo=client.photo()["id"], mask=client.file(grey_png(np.zeros((16, 20)))))
    assert "takes no mask" in client.wait(other["id"])["error"]
