"""Test the names and the shelves of the store, the views, and the estimate of a job's end."""

import numpy as np
import pytest

from jaxsr.studio import worker
from jaxsr.studio.store import NotFoundError, Shelf, Store, clean_name, suffix_by_content
from jaxsr.studio.views import TILE, colour_drift, make_view
from jaxsr.studio.worker import JobState, Worker
from tests.reliability.seeds import images
from tests.studio.client import png


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a.png", "a.png"),
        ("IMG_1.JPG", "IMG_1.JPG"),
        ("no ending", "no ending.png"),
        ("a.exe", "a.exe.png"),
        ("../a/b\\c.png", "c.png"),
        ("\x1b[31m\u202eevil\u2028.png", "[31mevil.png"),
        ("--.png", "photo.png"),
        ("", "photo.png"),
        ("x" * 500 + ".webp", "x" * 120 + ".webp"),
    ],
)
def test_a_name_is_cleaned(given, shown):
    assert clean_name(given, png()) == shown


def test_the_content_tells_the_extension(tmp_path):
    for name, data in images(tmp_path).items():
        found, known = suffix_by_content(data), f".{name.rpartition('.')[2]}"
        assert found == {".tiff": ".tif", ".heif": ".heic"}.get(known, known) or (found, known) == (".png", ".jxl"), (
            name
        )


def test_a_shelf_removes_the_oldest_that_is_not_busy():
    removed, busy = [], {"b"}
    shelf: Shelf[str] = Shelf("thing", 2, removed.append, lambda thing: thing in busy)
    for thing in "bcd":
        shelf.add(thing, thing)
    assert removed == ["c"]
    assert shelf.find("b") == "b"  # now it is the newest
    busy.clear()
    shelf.add("e", "e")
    assert removed == ["c", "d"]
    with pytest.raises(NotFoundError, match="there is no thing 'c'"):
        shelf.find("c")


def test_too_many_photos_leave_no_files(tmp_path, monkeypatch):
    store = Store(tmp_path, 10**6)
    store.photos.most = 2
    ids = [store.add_photo("a.png", png()).id for _ in range(4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(ids[2:])
    store.close()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_view_shows_the_pixels_on_white_at_every_level(tmp_path, dtype, channels):
    rng, peak = np.random.default_rng(0), 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    values = rng.random((2 * TILE + 75, TILE + 9, channels)).astype(np.float32)
    view = make_view(tmp_path / "v", (values if peak == 1 else np.rint(values * peak)).astype(dtype))
    colours = 3 if channels > 2 else 1
    expected = values[..., :colours]
    if channels in (2, 4):
        expected = 1 - values[..., -1:] * (1 - expected)
    assert view.levels == 3
    assert (
        np.abs(view.pixels() - 255 * expected).max() < 1.6
    )  # colour and opacity are rounded before they are multiplied
    finer = view.pixels().astype(float)
    for level in (1, 2):
        even = finer[: finer.shape[0] // 2 * 2, : finer.shape[1] // 2 * 2]
        mean = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, colours).mean((1, 3))
        coarse = view.pixels(level).astype(float)
        assert coarse.shape == (-(-finer.shape[0] // 2), -(-finer.shape[1] // 2), colours)
        assert np.abs(coarse[: mean.shape[0], : mean.shape[1]] - mean).max() <= 0.5
        finer = coarse
    assert view.tile(0, 2, 1) is not None
    assert [view.tile(*place) for place in ((3, 0, 0), (0, 3, 0), (0, 0, 2), (0, -1, 0))] == [None] * 4


def test_the_drift_is_that_of_the_worst_channel(tmp_path):
    first = make_view(tmp_path / "a", np.full((4, 4, 3), 100, np.uint8))
    second = make_view(tmp_path / "b", np.tile(np.uint8([101, 93, 100]), (2, 2, 1)))
    assert colour_drift(first, second) == 7.0


def test_the_end_is_estimated_from_the_tiles_after_the_first(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    job = JobState("i", "model", lambda *_: None, state="running", began=100.0)
    job.moved(0, 10)
    assert job.eta is None  # the first tile waits for the compiler
    job.pace = 2.0
    assert job.eta == 20.0
    now[0] = 160.0
    job.moved(1, 10)
    assert job.eta == 18.0
    now[0] = 168.0
    job.moved(3, 10)  # 4 s each since the first
    assert job.eta == 28.0
    now[0] = 170.0
    assert job.eta == 26.0
    job.state = "done"
    assert job.eta is None


def test_a_stopped_worker_cancels_what_waits():
    found = Worker()
    job, question = JobState("i", "model", lambda *_: None), found.ask(lambda: 1)
    found.submit(job)
    found.stop()
    found.start()
    found.stop()
    assert job.state == "cancelled"
    assert question.cancelled()


def test_questions_are_refused_when_too_many_wait():
    found = Worker()
    for _ in range(worker.MOST_WAITING):
        found.ask(lambda: 1)
    with pytest.raises(worker.BusyError, match="too many questions"):
        found.ask(lambda: 1)
