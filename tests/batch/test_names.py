"""Test the names of results: too long ones, one name for one image, and the images that a folder run leaves out."""

from pathlib import Path

import pytest
from PIL import Image

from jaxsr.batch.jobs import Job, check_name, find_inputs, is_file_name, name_result, plan_jobs
from jaxsr.imaging.folders import left_out, list_images

OUT = Path("out")


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), (200, 100, 50)).save(path)
    return path


def test_a_name_that_is_too_long_is_refused_by_itself(tmp_path):
    _picture(tmp_path / "in/ok.png")
    _picture(tmp_path / f"in/{'m' * 248}.png")
    jobs = plan_jobs(find_inputs([tmp_path / "in"], OUT, recursive=False), tmp_path, suffix="", ext=None, n_samples=1)
    check_name(jobs[1])
    with pytest.raises(ValueError, match=r"mmm\.png: its name is too long: .* more than 255 bytes; rename the image"):
        check_name(jobs[0])
    suffixed = plan_jobs(
        find_inputs([tmp_path / "in/ok.png"], OUT, recursive=False), tmp_path, suffix="s" * 249, ext=None, n_samples=1
    )
    with pytest.raises(ValueError, match=r"ok\.png: its name is too long: .*; choose a shorter --suffix"):
        check_name(suffixed[0])
    named = Job(tmp_path / "in/ok.png", tmp_path / f"{'y' * 251}.png", 0)
    with pytest.raises(ValueError, match=r"^--output: the name of .*yyy\.png is too long: .*; choose a shorter one"):
        check_name(named)


def test_a_folder_of_unread_types_says_what_it_holds(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.psd").touch()
    with pytest.raises(
        ValueError, match=r"no image to enlarge in the folder .*in; left out 1 image of types .*1 \.psd"
    ):
        find_inputs([tmp_path / "in"], OUT, recursive=False)


@pytest.mark.parametrize(("name", "target"), [("a.jfif", "a.jpg"), ("a.mpo", "a.jpg"), ("a.avif", "a.png")])
def test_other_extensions_get_a_usual_one(name, target):
    (job,) = plan_jobs([(Path(f"in/{name}"), Path(name))], OUT, suffix="", ext=None, n_samples=1)
    assert job.target == OUT / target


def test_a_name_of_a_file_is_the_result_of_one_image(tmp_path):
    one, target = [(tmp_path / "a.jpg", Path("a.jpg"))], tmp_path / "b.png"
    (named,) = name_result(one, target, n_samples=1, given=[])
    assert (named.target, named.source, named.sidecar) == (target, tmp_path / "a.jpg", tmp_path / "b.png.json")
    for inputs, n_samples in ((one * 2, 1), (one, 2)):
        with pytest.raises(
            ValueError, match=r"--output: .*b\.png is one file, but there would be 2 results; give a fol"
        ):
            name_result(inputs, target, n_samples=n_samples, given=[])
    with pytest.raises(ValueError, match=r"--ext: --output .*b\.png names the file already; leave one"):
        name_result(one, target, n_samples=1, given=["ext"])
    with pytest.raises(ValueError, match=r"--output: .*a\.jpg would replace an input"):
        name_result(one, one[0][0], n_samples=1, given=[])
    (tmp_path / "folder.png").mkdir()
    names = ("b.png", "B.JPG", "out", "v1.2", "folder.png")
    assert [is_file_name(tmp_path / name) for name in names] == [True, True, False, False, False]
    for ending in ("bmp", "GIF", "jfif", "avif", "jxl", "heic", "psd"):
        with pytest.raises(
            ValueError, match=rf"--output: .*r\.{ending}: \.{ending.lower()} is not written; choose one"
        ):
            is_file_name(tmp_path / f"r.{ending}")


def test_images_of_other_types_are_told(tmp_path):
    for name in ("a.png", "b.DNG", "c.dng", "sub/d.psd", "notes.txt", ".e.dng", ".git/f.dng"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert left_out([tmp_path], recursive=False) == "left out 2 images of types that are not read: 2 .dng"
    told = "left out 3 images of types that are not read: 2 .dng, 1 .psd"
    assert left_out([tmp_path, tmp_path / "a.png", "set14"], recursive=True) == told
    (tmp_path / "only").mkdir()
    assert left_out([tmp_path / "only"], recursive=True) is None


def test_links_to_nothing_are_told(tmp_path):
    (tmp_path / "a.png").touch()
    for name in ("e.txt", ".f.png", "b.png"):
        (tmp_path / name).symlink_to("gone.png")
    told = "left out 1 link whose file does not exist: "
    assert left_out([tmp_path], recursive=True) == f"{told}{tmp_path / 'b.png'}"
    assert list_images(tmp_path, recursive=True) == [tmp_path / "a.png"]
    for name in ("c.dng", "d.tif", "g.png"):
        (tmp_path / name).symlink_to("gone.png")
    (tmp_path / "real.dng").touch()
    shown = ", ".join(str(tmp_path / name) for name in ("b.png", "c.dng", "d.tif"))
    told = "left out 1 image of types that are not read: 1 .dng; and 4 links whose files do not exist: "
    assert left_out([tmp_path], recursive=True) == f"{told}{shown}, ..."
