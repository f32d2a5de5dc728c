"""Test which files jobs find and write, when a job counts as done, and what a crash leaves behind."""

import json
import os
import platform
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.batch.jobs import (
    Job,
    check_output,
    find_inputs,
    plan_jobs,
)
from jaxsr.batch.request import Request, hash_source, request_for
from jaxsr.batch.sidecar import ExistsError, is_done
from jaxsr.batch.write import write_result
from jaxsr.imaging.files import ImageFileError, read_photo
from jaxsr.options import Options
from jaxsr.storage import remove_leftovers

OUT = Path("out")


def _picture(path: Path, size: tuple[int, int] = (3, 2)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 100, 50)).save(path)
    return path


def _plan(*inputs: str, suffix: str = "", ext: str | None = None, n_samples: int = 1) -> list[Job]:
    pairs = [(Path(name), Path(name).relative_to(Path(name).parts[0])) for name in inputs]
    return plan_jobs(pairs, OUT, suffix=suffix, ext=ext, n_samples=n_samples)


def test_files_and_folders_are_found_relative_to_what_was_named(tmp_path):
    top, low, lone = (_picture(tmp_path / name) for name in ("in/b.png", "in/sub/a.jpg", "lone.webp"))
    (tmp_path / "in/notes.txt").write_text("no image")
    named = [tmp_path / "in", lone]
    assert find_inputs(named, OUT, recursive=False) == [(top, Path("b.png")), (lone, Path("lone.webp"))]
    everything = [(top, Path("b.png")), (low, Path("sub/a.jpg")), (lone, Path("lone.webp"))]
    assert find_inputs(named, OUT, recursive=True) == everything
    assert find_inputs([*named, top], OUT, recursive=True) == everything  # named twice, found once


def test_missing_paths_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere: there is no such file or folder; check the name"):
        find_inputs([tmp_path / "nowhere"], OUT, recursive=True)
    _picture(tmp_path / "sub/a.png")
    with pytest.raises(ValueError, match="--recursive"):
        find_inputs([tmp_path], OUT, recursive=False)
    (tmp_path / "sub/.hidden").mkdir()
    (tmp_path / "sub/a.png").unlink()
    with pytest.raises(ValueError, match=r"no image to enlarge in the folder .*sub\.$"):
        find_inputs([tmp_path / "sub"], OUT, recursive=False)


def test_results_inside_the_input_folder_are_no_inputs(tmp_path):
    photo, result = _picture(tmp_path / "a.png"), _picture(tmp_path / "out/a.png")
    result.with_name("a.png.json").write_text("{}")
    assert find_inputs([tmp_path], tmp_path / "out", recursive=True) == [(photo, Path("a.png"))]
    again = find_inputs([tmp_path / "out"], tmp_path / "more", recursive=True)
    assert again == [(result, Path("a.png"))]  # but they may be enlarged once more


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, "sub/a.JPG"),
        ({"suffix": "_x4"}, "sub/a_x4.JPG"),
        ({"ext": "png"}, "sub/a.png"),
        ({"suffix": "_x4", "n_samples": 2}, "sub/a_x4_0.JPG sub/a_x4_1.JPG"),
    ],
)
def test_results_mirror_the_tree(settings, target):
    jobs = _plan("in/sub/a.JPG", **settings)
    assert [job.target for job in jobs] == [OUT / name for name in target.split()]
    assert [job.sample for job in jobs] == list(range(len(jobs)))
    assert jobs[0].sidecar == OUT / (target.split()[0] + ".json")


def test_a_format_that_cannot_be_written_becomes_png():
    assert [job.target for job in _plan("in/a.bmp")] == [OUT / "a.png"]


def test_two_inputs_of_one_result_are_refused():
    with pytest.raises(ValueError, match=r"in/a\.bmp and in/a\.png would both be written"):
        _plan("in/a.bmp", "in/a.png")
    assert len(_plan("in/a.bmp", "in/b/a.png")) == 2


@pytest.mark.parametrize("others", [[], ["other/x.png"]])
def test_a_result_never_replaces_an_input(others):
    named = [(Path("out/a.png"), Path("x.png" if others else "a.png")), *((Path(o), Path("a.png")) for o in others)]
    with pytest.raises(ValueError, match=r"out/a\.png would replace an input"):
        plan_jobs(named, OUT, suffix="", ext=None, n_samples=1)


def _write(job: Job, record: dict) -> None:
    """Write the input's own pixels as the job's result."""
    with Image.open(job.source) as image:
        write_result(job, np.asarray(image), read_photo(job.source), record, quality=90)


def _finished(folder: Path, ext: str = "png") -> tuple[Job, Request]:
    """Write the result of a job; return the job and its request."""
    job = Job(_picture(folder / "photo.png"), folder / f"out/photo.{ext}", 0)
    wanted = request_for(job, model="m", model_sha256="abc", options=Options(steps=4), seed=7, quality=90)
    _write(job, wanted.to_record() | {"options": wanted.used([Options(steps=4, tile=64)]).decisions()})
    return job, wanted


def test_a_finished_job_is_done_by_what_was_asked_and_by_what_was_used(tmp_path):
    job, wanted = _finished(tmp_path)
    assert is_done(job, wanted)
    assert is_done(job, wanted.used([Options(steps=4, tile=64)]))
    job.target.unlink()
    assert not is_done(job, wanted)


@pytest.mark.parametrize("change", ["option", "seed", "model", "input", "result", "no sidecar", "garbage", "a list"])
def test_a_result_made_otherwise_is_neither_done_nor_replaced(tmp_path, change):
    job, wanted = _finished(tmp_path)
    others = {"option": {"options": Options(steps=5)}, "seed": {"seed": 8}, "model": {"model_sha256": "def"}}
    if change in others:
        wanted = replace(wanted, **others[change])
    elif change in ("input", "result"):
        _picture(job.source if change == "input" else job.target, (5, 5))
        wanted = replace(wanted, input=hash_source(job.source))
    elif change == "no sidecar":
        job.sidecar.unlink()
    else:
        job.sidecar.write_bytes({"garbage": b"\xff{", "a list": b"[]"}[change])
    why = {
        "result": "but was changed after it was made",
        "no sidecar": r"without its record photo\.png\.json",
        "garbage": r"but its record photo\.png\.json cannot be read",
        "a list": r"but its record photo\.png\.json cannot be read",
    }
    said = why.get(change, "but was made from another input or with other options")
    with pytest.raises(ExistsError, match=rf"photo\.png exists, {said}; give --overwrite"):
        is_done(job, wanted)


@pytest.mark.parametrize(("ext", "counts"), [("png", False), ("tif", False), ("JPG", True), ("webp", True)])
def test_quality_counts_where_the_format_has_one(tmp_path, ext, counts):
    job = Job(_picture(tmp_path / "a.png"), Path(f"out/a.{ext}"), 0)
    common = {"model": "m", "model_sha256": "abc", "options": Options()}
    low, high = (request_for(job, quality=quality, **common).decisions() for quality in (10, 95))
    assert (low != high) == counts


def test_both_files_are_on_the_disk_before_they_get_their_names(tmp_path, monkeypatch):
    synced, renamed, fsync, rename_file = [], [], os.fsync, os.replace

    def sync(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def rename(source, target):
        assert os.stat(source).st_ino in synced
        renamed.append(Path(target).name)
        rename_file(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    job, wanted = _finished(tmp_path)
    assert renamed[-2:] == ["photo.png.json", "photo.png"]
    assert sorted(os.listdir(job.target.parent)) == ["photo.png", "photo.png.json"]
    assert is_done(job, wanted)


def _start_writing(job: Job, wanted: Request) -> subprocess.Popen:
    """Start a process that pauses while it writes the result, with the file under its temporary name."""
    script = """
        import sys
        from pathlib import Path
        from jaxsr.batch import write
        from tests.batch import test_jobs
        write_pixels = write.write_pixels
        def pause(*args, **kwargs):
            write_pixels(*args, **kwargs)
            print("written", flush=True)
            sys.stdin.readline()
        write.write_pixels = pause
        test_jobs._finished(Path(sys.argv[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(job.source.parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


def test_two_processes_write_one_result_and_a_killed_one_is_tidied_up(tmp_path):
    job, wanted = _finished(tmp_path)
    folder = job.target.parent
    other = _start_writing(job, wanted)
    assert len(os.listdir(folder)) == 3
    remove_leftovers(folder)
    _finished(tmp_path)
    assert len(os.listdir(folder)) == 3
    other.communicate("\n")
    assert other.returncode == 0
    assert sorted(os.listdir(folder)) == ["photo.png", "photo.png.json"]
    assert is_done(job, wanted)

    killed = _start_writing(job, wanted)
    killed.kill()
    killed.communicate()
    elsewhere = folder / f".jaxsr-not-{platform.node()}.{killed.pid}.abc.tmp"
    elsewhere.mkdir()
    assert len(os.listdir(folder)) == 4
    remove_leftovers(folder)
    assert sorted(os.listdir(folder)) == [elsewhere.name, "photo.png", "photo.png.json"]
    remove_leftovers(folder / "nowhere")


def test_a_crash_between_the_two_files_leaves_a_job_to_do(tmp_path, monkeypatch):
    rename_file = os.replace

    def crash(source, target):
        if Path(target) == tmp_path / "out/photo.png":
            raise KeyboardInterrupt
        rename_file(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        _finished(tmp_path)
    assert os.listdir(tmp_path / "out") == ["photo.png.json"]
    job = Job(tmp_path / "photo.png", tmp_path / "out/photo.png", 0)
    assert not is_done(job, request_for(job, model="m", model_sha256="abc", options=Options()))


def test_what_a_format_cannot_hold_is_named_and_leaves_nothing(tmp_path):
    job = Job(_picture(tmp_path / "long.png", (16384, 1)), tmp_path / "out/long.webp", 0)
    with pytest.raises(ImageFileError, match=r"out/long\.webp: .* at most 16383") as caught:
        _write(job, {})
    assert ".tmp" not in str(caught.value)
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    job = Job(_picture(tmp_path / "a.png"), tmp_path / "a.png" / "a.png", 0)
    with pytest.raises(ImageFileError, match=r"a\.png/a\.png: cannot be written \(.*\); check the folder"):
        _write(job, {})


@pytest.mark.parametrize("below", ["file", "file/out", "file/out/deep", "link", "link/out"])
def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path, below):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ValueError, match=rf"--output: .*{below.split('/')[0]} is not a folder"):
        check_output(tmp_path / below)
    check_output(tmp_path)
    check_output(tmp_path / "new/deep")
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_an_output_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write anywhere
    with pytest.raises(ValueError, match=r"--output: the folder .* cannot be written"):
        check_output(tmp_path / "new/deep")
    (tmp_path / "new").mkdir()
    check_output(tmp_path / "new/deep")


def test_the_sidecar_is_json_whatever_the_name(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x8c\xb8.png")  # not UTF-8, as on old disks
    job = Job(_picture(tmp_path / "photo.png"), tmp_path / name, 0)
    _write(job, {"input": name})
    assert json.loads(job.sidecar.read_text(encoding="utf-8"))["input"] == name
    assert np.array_equal(read_photo(job.target).rgb, read_photo(job.source).rgb)
