"""Test the JSON API: uploads, looks, the queue, progress, cancelling, and its refusals."""

import json
import threading
import time

import numpy as np
import pytest

from jaxsr.studio.worker import MOST_WAITING
from jaxsr.upscaling.preview import Preview
from tests.studio.client import grey_png, png


@pytest.fixture
def held(client, calibrated, monkeypatch):
    """Hold the worker in its first call of the network, until `held.set()`."""
    from jaxsr.studio.making import Maker

    going, make = threading.Event(), Maker.make

    def waiting(self, *arguments):
        assert going.wait(60)
        return make(self, *arguments)

    monkeypatch.setattr(Maker, "make", waiting)
    yield going
    going.set()


def events(client, key: str) -> list[dict]:
    """Read the events of a job to their end."""
    with client.open("GET", f"/api/jobs/{key}/events") as answer:
        assert answer.getheader("content-type").startswith("text/event-stream")
        lines = answer.read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def test_the_page_and_its_files(client):
    assert b"<title>" in client.get("/").body
    assert client.get("/static/app.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/static/style.css").headers["content-type"].startswith("text/css")


def test_info(client):
    info = client.get("/api/info").json
    assert info["default_model"] == "model"
    assert info["limits"] == {"bytes": 10**6, "pixels": 10**5, "waiting": MOST_WAITING, "samples": 8}
    assert "photo-x4" in [model["name"] for model in info["models"]]


def test_an_uploaded_photo_is_described(client):
    photo = client.photo("h%C3%B6lzern.png", png((30, 20)))
    assert photo["name"] == "hölzern.png"
    assert {name: photo[name] for name in ("depth", "grey", "transparent")} == {
        "depth": 8,
        "grey": False,
        "transparent": False,
    }
    view = photo["view"]
    assert (view["width"], view["height"], view["levels"]) == (30, 20, 1)
    assert client.get(f"{view['tiles']}/0/0/0").pixels.shape == (20, 30, 3)


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"hello", "no readable"), (png()[:90], "cut short")])
def test_what_is_no_photo_is_refused_in_one_sentence(client, data, reason):
    for place in ("photos", "files"):
        answer = client.send("POST", f"/api/{place}?name=mine.png", data)
        assert answer.status == 422
        assert answer.json["error"].startswith("mine.png: ")
        assert reason in answer.json["error"]
    assert not list(client.folder.rglob("mine*"))


def test_a_removed_photo_is_gone(client):
    photo = client.photo()
    assert client.send("DELETE", f"/api/photos/{photo['id']}").status == 204
    assert client.send("DELETE", f"/api/photos/{photo['id']}").status == 404
    assert client.get(f"{photo['view']['tiles']}/0/0/0").status == 404
    assert client.send("POST", "/api/jobs", {"photo": photo["id"]}).status == 404
    assert not list(client.folder.rglob(photo["id"]))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"seed": -1}, "seed: must be a whole number from 0"),
        ({"samples": 99}, "samples: must be a whole number from 1 to 8"),
        ({"quality": 0}, "quality: must be"),
        ({"format": "bmp"}, "format: no 'bmp'"),
        ({"stride": 1}, "has no field stride"),
        ({"options": {"step": 1}}, "options: has no field step"),
        ({"options": {"steps": 0}}, "steps: must be a whole number of at least 1"),
        ({"knob": {"preset": "vivid", "position": 3}}, "give a preset or a position"),
        ({"knob": {"position": 3}, "options": {"alpha": 1.0}}, "alpha"),
        ({"reference_box": [0, 0, 4, 4]}, "reference_box: needs reference"),
        ({"options": "fast"}, "options: must be an object"),
    ],
)
def test_a_wrong_job_is_refused_in_one_sentence(client, wrong, reason):
    answer = client.send("POST", "/api/jobs", {"photo": client.photo()["id"], **wrong})
    assert answer.status == 422
    assert reason in answer.json["error"]


def test_what_is_no_json_is_refused(client):
    for body in (b"{", b"[]", b"\xff", b'{"photo": NaN}', b"[" * 100_000):
        answer = client.send("POST", "/api/jobs", body)
        assert answer.status == 422
        assert len(answer.json["error"]) < 600


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"options": {"steps": 99}}, "99"),
        ({"knob": {"preset": "rule"}}, "has no 'rule'"),
        ({"options": {"tile": 7}}, "tile: must be a multiple of"),
        ({"knob": {"position": 400}}, "knob: must be from -50 to 150"),
    ],
)
def test_a_job_that_does_not_fit_the_model_fails_with_one_sentence(client, wrong, reason):
    found = client.wait(client.job(photo=client.photo()["id"], **wrong)["id"])
    assert found["state"] == "failed"
    assert reason in found["error"]
    assert str(client.folder) not in found["error"]
    assert client.get(f"/api/jobs/{found['id']}/results/0/picture").status == 404


def test_events_tell_the_progress_until_the_end(client):
    job = client.job(photo=client.photo(size=(100, 20))["id"], options={"tile": 32, "overlap": 16}, samples=2)
    seen = events(client, job["id"])
    assert seen[-1]["state"] == "done"
    total = seen[-1]["tiles"][1]
    assert total > 4
    assert seen[-1]["tiles"] == [total, total]
    done = [one["tiles"][0] for one in seen]
    assert done == sorted(done)
    assert len(seen[-1]["results"]) == 2
    assert all(result["view"]["tiles"] for result in seen[-1]["results"])


def test_jobs_wait_in_a_queue_of_eight(client, held):
    photo = client.photo()["id"]
    running = client.job(photo=photo)
    client.wait(running["id"], "running")
    waiting = [client.job(photo=photo) for _ in range(MOST_WAITING)]
    assert [job["before"] for job in waiting] == list(range(1, MOST_WAITING + 1))
    answer = client.send("POST", "/api/jobs", {"photo": photo})
    assert answer.status == 429
    assert answer.headers["retry-after"]
    assert "8 pictures wait already" in answer.json["error"]
    last = waiting.pop()
    assert client.send("DELETE", f"/api/jobs/{last['id']}").json["state"] == "cancelled"
    held.set()
    assert [client.wait(job["id"])["state"] for job in (running, *waiting)] == ["done"] * MOST_WAITING


def test_a_running_job_stops_after_a_tile(client, monkeypatch):
    from jaxsr.studio import worker

    photo, moved, cancelled = client.photo(size=(200, 20))["id"], worker.JobState.moved, threading.Event()

    def slowly(self, done, total):
        moved(self, done, total)
        if done == 1:
            assert cancelled.wait(60)

    monkeypatch.setattr(worker.JobState, "moved", slowly)
    job = client.job(photo=photo, options={"tile": 32, "overlap": 16})
    while client.get(f"/api/jobs/{job['id']}").json["tiles"][0] < 1:
        time.sleep(0.02)
    client.send("DELETE", f"/api/jobs/{job['id']}")
    cancelled.set()
    found = client.wait(job["id"])
    assert found["state"] == "cancelled"
    assert found["tiles"][0] < found["tiles"][1]
    assert client.get(f"/api/jobs/{job['id']}/results/0/picture").status == 404
    assert client.make(photo=photo)["state"] == "done"  # the next job is made


def test_a_look_is_answered_inside_of_a_running_job(client, monkeypatch):
    """The job waits after its first tile until the look is seen, which would be a deadlock otherwise."""
    from jaxsr.studio.making import Maker

    photo, seen, look = client.photo(size=(200, 20))["id"], threading.Event(), Maker.look
    client.send("POST", "/api/looks", {"photo": photo, "at": [0, 0]})  # compiled

    def noted(self, *arguments):
        seen.set()
        return look(self, *arguments)

    monkeypatch.setattr(Maker, "look", noted)
    job = client.job(photo=photo, options={"tile": 32, "overlap": 16}, samples=8)
    client.wait(job["id"], "running")
    assert client.send("POST", "/api/looks", {"photo": photo, "at": [0, 0]}).status == 200
    assert client.get(f"/api/jobs/{job['id']}").json["state"] == "running"
    assert seen.is_set()
    client.send("DELETE", f"/api/jobs/{job['id']}")
    client.wait(job["id"])


def test_a_failed_job_does_not_end_the_worker(client, monkeypatch, capfd):
    from jaxsr.studio.making import Maker

    def broken(self, *arguments):
        raise KeyError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr(Maker, "make", broken)
        found = client.wait(client.job(photo=client.photo()["id"])["id"])
    assert found["state"] == "failed"
    assert "something went wrong (KeyError)" in found["error"]
    assert "a fault" in capfd.readouterr().err
    assert client.make(photo=client.photo()["id"])


def test_a_look_shows_each_setting_and_says_where(client):
    photo = client.photo(size=(200, 150))["id"]
    look = {"photo": photo, "at": [100, 149], "knobs": [{}, {"position": 100}, {"preset": "faithful"}]}
    answer = client.send("POST", "/api/looks", look)
    assert answer.status == 200, answer.body
    facts = json.loads(answer.headers["x-jaxsr-look"])
    x, y, width, height = facts["window"]
    assert (x, y, width, height) == (64, 96, 64, 54)
    pixels = answer.pixels
    assert pixels.shape == (3 * 4 * height, 4 * width, 3)
    assert [one["alpha"] for one in facts["settings"]] == [[], [0.3, 0.2], [-0.2, 0.0]]
    parts = pixels.reshape(3, 4 * height, 4 * width, 3)
    assert (parts[0] != parts[1]).any()
    assert (parts[1] != parts[2]).any()


def test_a_look_heeds_the_alpha_map_and_the_seed(client):
    photo = client.photo(size=(64, 64))["id"]
    black = client.file(grey_png(np.zeros((64, 64))))
    plain, turned, mapped, seeded = (
        client.send("POST", "/api/looks", {"photo": photo, "at": [9, 9], **more}).body
        for more in (
            {},
            {"knobs": [{"position": 100}]},
            {"knobs": [{"position": 100}], "alpha_map": black},
            {"seed": 1},
        )
    )
    assert plain == mapped != turned
    assert seeded != plain
    wrong = client.file(grey_png(np.zeros((9, 9))))
    answer = client.send("POST", "/api/looks", {"photo": photo, "at": [9, 9], "alpha_map": wrong})
    assert answer.status == 422
    assert answer.json["error"] == "alpha_map: must be 64x64 pixels, as the photo is."


def test_the_knob_of_the_model(client):
    knob = client.get("/api/knob").json
    assert knob["model"] == "model"
    assert [tick["names"] for tick in knob["ticks"]] == [["faithful"], ["balanced"], ["vivid"]]
    assert client.get("/api/knob?steps=3&sampler=heun").json["calibrated"] is None
    assert client.get("/api/knob?steps=x").status == 422
    assert client.get("/api/knob?steps=1000").status == 422


def test_a_model_card(client, calibrated):
    from jaxsr.studio import models

    assert b"# model" in client.get("/api/models/model/card").body
    card = models.read_card(models.Resident("tiny-x4", "tiny-x4", calibrated, Preview(calibrated)))
    assert "CC BY-SA" in card
