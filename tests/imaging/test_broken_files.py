"""Test wrong, truncated and too large files, and writes that fail: one sentence, no partial pixels, nothing lost."""

import dataclasses
import hashlib
import os
import subprocess
import sys
import textwrap
import threading
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from jaxsr.imaging import decode, files
from jaxsr.imaging.files import (
    WRITTEN,
    ImageFileError,
    Photo,
    hash_photo,
    read_photo,
    write_photo,
)
from jaxsr.imaging.folders import list_images
from tests.imaging import image_zoo as zoo


def _random(channels: int, dtype: type = np.uint16, size: tuple[int, int] = (5, 7)) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)


def _read(tmp_path: Path, data: bytes, name: str = "a.png") -> Photo:
    (tmp_path / name).write_bytes(data)
    return read_photo(tmp_path / name)


def _refusal(path: Path) -> str:
    with pytest.raises(ImageFileError) as caught:
        read_photo(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence


def test_wrong_files_are_named_with_what_to_do(tmp_path):
    bmp = BytesIO()
    Image.fromarray(_random(3, np.uint8)).save(bmp, "BMP")
    for name, data, expected in [
        ("empty.png", b"", "an empty file; copy or download it again"),
        (
            "text.png",
            b"once upon a time " * 9,
            "no readable PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL image; convert it",
        ),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no readable PNG"),
        (
            "bomb.png",
            zoo.png_file(40000, 40000, 8, 2, b""),
            "40000x40000 is over the limit of 1000000000 pixels; cut it",
        ),
        ("bomb.tif", zoo.tiff(_random(3), t256=50000, t257=50000), "50000x50000 is over the limit"),
        ("jpeg.bmp", bmp.getvalue()[:30] + b"\x04" + bmp.getvalue()[31:], "a kind of image that is not supported ("),
        ("half.png", zoo.png_file(7, 50, 8, 2, bytes(22 * 25)), "damaged or cut short ("),
        ("flip.png", zoo.png(_random(3)).replace(b"IDAT", b"IDAT\xff"), "damaged or cut short ("),
    ]:
        (tmp_path / name).write_bytes(data)
        assert expected in _refusal(tmp_path / name)
    assert "no such file; check the name" in _refusal(tmp_path / "nothing.png")
    assert "a folder, not an image; name a file in it" in _refusal(tmp_path)
    for mode, name in (("I", "int32"), ("F", "float32")):
        Image.new(mode, (2, 2)).save(tmp_path / "a.tif")
        assert f"pixels of type {name} have no fixed white; save it as" in _refusal(tmp_path / "a.tif")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_file(tmp_path):
    (tmp_path / "a.png").touch(0o000)
    assert "cannot be read (Permission denied); check its permissions" in _refusal(tmp_path / "a.png")


def test_pictures_beyond_pillows_limit_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    pixels = _random(3, np.uint8)
    for name, data in (("a.png", zoo.png(pixels)), ("a.tif", zoo.tiff(pixels))):
        np.testing.assert_array_equal(np.rint(_read(tmp_path, data, name).rgb * 255), pixels)
    monkeypatch.setattr(decode, "MAX_PIXELS", 34)
    assert "7x5 is over the limit of 34 pixels" in _refusal(tmp_path / "a.png")


def _whole_files() -> dict[str, bytes]:
    files = {"a16.png": zoo.png(_random(4), 4), "a16.tif": zoo.tiff(_random(3))}
    image = Image.fromarray(_random(3, np.uint8, (19, 23)))
    for name, kind, options in [
        ("a.png", "PNG", {}),
        ("a.jpg", "JPEG", {}),
        ("b.jpg", "JPEG", {"progressive": True}),
        ("a.webp", "WEBP", {"lossless": True}),
        ("a.tif", "TIFF", {}),
        ("b.tif", "TIFF", {"compression": "tiff_lzw"}),
        ("a.bmp", "BMP", {}),
        ("a.gif", "GIF", {}),
    ]:
        stream = BytesIO()
        image.save(stream, kind, **options)
        files[name] = stream.getvalue()
    return files


@pytest.mark.parametrize("name", _whole_files())
def test_truncated_files_give_no_partial_pixels(tmp_path, name):
    """A truncated file is refused, or is complete where only its end mark is missing."""
    data = _whole_files()[name]
    path, refused = tmp_path / name, 0
    whole = _read(tmp_path, data, name).rgb
    cuts = sorted({*range(1, len(data), max(1, len(data) // 40)), *range(len(data) - 14, len(data))})
    for cut in cuts:
        path.write_bytes(data[:cut])
        try:
            photo = read_photo(path)
        except ImageFileError:
            refused += 1
        else:
            np.testing.assert_array_equal(photo.rgb, whole)
    assert refused >= len(cuts) - 14
    path.write_bytes(data[: len(data) // 2])
    assert "copy" in _refusal(path)


@pytest.fixture
def photo(tmp_path) -> Photo:
    return _read(tmp_path, zoo.png(_random(3)), "source.png")


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.gif"])
def test_unknown_extension(tmp_path, photo, name):
    with pytest.raises(
        ImageFileError, match=r"unknown extension .*; use one of \.png \.jpg \.jpeg \.webp \.tif \.tiff"
    ):
        write_photo(tmp_path / name, photo)
    assert not (tmp_path / name).exists()


def test_what_a_format_cannot_hold(tmp_path, photo):
    long = dataclasses.replace(photo, rgb=np.zeros((1, 65501, 3), np.float32), depth=8)
    for suffix, side in ((".webp", 16383), (".jpg", 65500)):
        with pytest.raises(ImageFileError, match=rf"{suffix} holds at most {side} pixels a side; write .png or .tif"):
            write_photo(tmp_path / f"a{suffix}", long)
    write_photo(tmp_path / "a.jpg", dataclasses.replace(long, rgb=long.rgb[:, :65500]))
    write_photo(tmp_path / "a.webp", dataclasses.replace(long, rgb=long.rgb[:, :16383]))
    bad = photo.rgb.copy()
    bad[0, 0, 0] = np.nan
    with pytest.raises(ImageFileError, match="pixels that are not numbers"):
        write_photo(tmp_path / "n.png", dataclasses.replace(photo, rgb=bad))
    assert not (tmp_path / "n.png").exists()


def test_unwritable_folder(tmp_path, photo):
    (tmp_path / "file").touch()
    with pytest.raises(ImageFileError, match=r"cannot be written .*; check the folder and its space"):
        write_photo(tmp_path / "file" / "a.png", photo)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, photo, suffix):
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / f"a{suffix}"
    target.write_bytes(b"old")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    def refused(*calls: str) -> str:
        with monkeypatch.context() as patch:
            for call in calls:
                patch.setattr(call, fail)
            with pytest.raises(ImageFileError) as caught:
                write_photo(target, photo)
        assert os.listdir(folder) == [target.name]
        assert target.read_bytes() == b"old"
        return str(caught.value)

    for call in ("os.fsync", "os.replace"):
        assert f"{target}: cannot be written (No space left" in refused(call)
    encoders = ("PIL.Image.Image.save", "jaxsr.imaging.files.encode_png16", "jaxsr.imaging.files.encode_tiff")
    assert f"{target}: cannot be encoded (" in refused(*encoders)


def test_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path, photo):
    target = tmp_path / "out" / "a.png"
    write_photo(target, photo)
    old = target.read_bytes()
    script = """
        import os, sys
        from jaxsr.imaging.files import read_photo, write_photo
        assert not {"jax", "torch", "tensorflow", "imagecodecs", "cv2"} & sys.modules.keys()
        photo = read_photo(sys.argv[1])
        os.fsync = lambda _: os._exit(9)
        write_photo(sys.argv[2], photo)
    """
    other = tmp_path / "other.png"
    other.write_bytes(zoo.png(_random(3, np.uint8, (40, 40))))
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(other), str(target)], check=False)
    assert done.returncode == 9
    assert target.read_bytes() == old
    assert list_images(target.parent, recursive=True) == [target]


def test_list_images(tmp_path):
    wanted = ["B.PNG", "a.jpg", "c.TiFf", "sub/d.webp", "sub/deep/e.bmp", "ü.gif"]
    for name in [*wanted, "notes.txt", "noext", ".hidden.png", ".cache/f.png", "sub/.g.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert list_images(tmp_path, recursive=True) == [tmp_path / name for name in wanted]
    assert list_images(str(tmp_path), recursive=False) == [tmp_path / name for name in wanted if "/" not in name]
    for wrong, problem in (("missing", "no such folder"), ("a.jpg", "not a folder")):
        with pytest.raises(ImageFileError, match=rf"{wrong}: {problem}; give the folder"):
            list_images(tmp_path / wrong, recursive=False)


def test_links_are_followed_once_and_loops_end(tmp_path):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "else/far").mkdir(parents=True)
    for name in ("in/a.png", "in/sub/b.png", "else/c.png", "else/far/d.png"):
        (tmp_path / name).touch()
    for link, to in (("in/linked", "else"), ("in/again", "else"), ("in/sub/loop", "in"), ("else/far/up", "else")):
        (tmp_path / link).symlink_to(tmp_path / to, target_is_directory=True)
    (tmp_path / "in/file.png").symlink_to(tmp_path / "in/a.png")
    (tmp_path / "in/dead.png").symlink_to(tmp_path / "nowhere.png")
    names = [path.relative_to(tmp_path / "in").as_posix() for path in list_images(tmp_path / "in", recursive=True)]
    assert names == ["a.png", "again/c.png", "again/far/d.png", "file.png", "sub/b.png"]
    assert [path.name for path in list_images(tmp_path / "in", recursive=False)] == ["a.png", "file.png"]


def test_pipes_are_read_once_and_end(tmp_path, monkeypatch):
    path, data = tmp_path / "a.png", zoo.png(_random(3, np.uint8, (300, 200)))
    os.mkfifo(path)
    assert list_images(tmp_path, recursive=True) == []
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    assert hash_photo(path) == hashlib.sha256(data).hexdigest()
    writer.join()
    assert read_photo(path).rgb.shape == (300, 200, 3)
    assert "an empty file" in _refusal(Path("/dev/null"))
    monkeypatch.setattr(files, "PIPE_WAIT", 0.2)
    os.mkfifo(tmp_path / "b.png")
    assert "nothing came through it for 0.2 s; check what writes to it" in _refusal(tmp_path / "b.png")
    monkeypatch.setattr(files, "_MOST_PIPED", 10**6)
    assert "more than 1000000 bytes came through it" in _refusal(Path("/dev/zero"))


def test_jpegs_and_phones_have_many_extensions(tmp_path):
    smooth = np.asarray(Image.fromarray(_random(3, np.uint8)).resize((64, 48), Image.Resampling.BICUBIC))
    image, block = Image.fromarray(smooth), zoo.exif(orientation=1)
    for name, kind in (("a.jfif", "JPEG"), ("a.jpe", "JPEG"), ("a.mpo", "MPO"), ("a.avif", "AVIF")):
        image.save(tmp_path / name, kind, quality=95, exif=block)
        photo = read_photo(tmp_path / name)
        assert np.abs(photo.rgb * 255 - smooth).mean() < 7, name
        assert photo.exif, name
        assert photo.lost == (), name
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(smooth, lossless=True))
    photo = read_photo(tmp_path / "a.jxl")
    np.testing.assert_array_equal(np.rint(photo.rgb * 255), smooth)
    assert photo.lost == (decode.JPEG_XL,)


def test_heic_is_read_with_its_package(tmp_path):
    pytest.importorskip("pillow_heif", reason="extra check: needs the heic extra").register_heif_opener()
    smooth = np.asarray(Image.fromarray(_random(3, np.uint8)).resize((64, 48), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(tmp_path / "a.heic", quality=95, exif=zoo.exif(orientation=1))
    photo = read_photo(tmp_path / "a.heic")
    assert np.abs(photo.rgb * 255 - smooth).mean() < 7
    assert (bool(photo.exif), photo.lost) == (True, ())


def test_heic_without_its_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    assert "HEIC needs one more package: run  pip install '.[heic]'" in _refusal(tmp_path / "a.heic")
