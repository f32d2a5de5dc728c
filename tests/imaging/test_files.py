"""Test `read_photo` and `write_photo` on small images of every mode, bit for bit where nothing is lost."""

import dataclasses
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.imaging import sixteen_bit
from jaxsr.imaging.files import ImageFileError, Photo, pixel_dtype, read_photo, write_photo, write_pixels
from jaxsr.imaging.metadata import clean_exif
from tests.imaging import image_zoo as zoo

SIZES = [(1, 1), (1, 9), (9, 1), (5, 7)]


def _random(channels: int, dtype: type = np.uint16, size: tuple[int, int] = (5, 7)) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)


def _read(tmp_path: Path, data: bytes, name: str = "a.png") -> Photo:
    (tmp_path / name).write_bytes(data)
    return read_photo(tmp_path / name)


def _assert_holds(photo: Photo, pixels: np.ndarray) -> None:
    """Assert that the photo holds exactly these (h, w, 1..4) pixels."""
    top, channels = np.iinfo(pixels.dtype).max, pixels.shape[-1]
    colour = pixels[..., :3] if channels > 2 else pixels[..., :1].repeat(3, -1)
    np.testing.assert_array_equal(np.rint(photo.rgb.astype(np.float64) * top), colour)
    assert photo.depth == 8 * pixels.itemsize
    assert photo.grey == (channels < 3)
    assert (photo.alpha is None) == (channels in (1, 3))
    if photo.alpha is not None:
        np.testing.assert_array_equal(np.rint(photo.alpha.astype(np.float64) * top), pixels[..., -1])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_is_read_to_the_last_bit(tmp_path, channels, dtype, size):
    pixels = _random(channels, dtype, size)
    for kind in range(5):
        _assert_holds(_read(tmp_path, zoo.png(pixels, kind)), pixels)
    _assert_holds(_read(tmp_path, zoo.png(pixels, interlaced=True)), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_transparent_colour_becomes_alpha(tmp_path, channels, dtype):
    pixels = _random(channels, dtype)
    pixels[3, 2] = pixels[1, 4]
    chunk = (b"tRNS", pixels[1, 4].astype(">u2").tobytes())
    alpha = (~(pixels == pixels[1, 4]).all(-1, keepdims=True)).astype(dtype) * np.iinfo(dtype).max
    assert (alpha == 0).sum() >= 2
    _assert_holds(_read(tmp_path, zoo.png(pixels, chunks=(chunk,))), np.concatenate([pixels, alpha], -1))


@pytest.mark.parametrize(("bits", "row"), [(1, b"\x50"), (2, b"\x1b"), (4, b"\x01\x23"), (8, b"\x00\x01\x02\x03")])
def test_png_transparent_grey_of_few_bits(tmp_path, bits, row):
    levels = [0, 1, 0, 1] if bits == 1 else [0, 1, 2, 3]
    data = zoo.png_file(4, 1, bits, 0, b"\0" + row, ((b"tRNS", struct.pack(">H", 1)),))
    pixels = [[[level * 255 // (2**bits - 1), 0 if level == 1 else 255] for level in levels]]
    _assert_holds(_read(tmp_path, data), np.array(pixels, np.uint8))


@pytest.mark.parametrize("bits", [2, 8])
def test_palette_with_and_without_transparency(tmp_path, bits):
    palette = (b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90]))
    rows = b"\0" + (b"\x18" if bits == 2 else b"\0\1\2")
    colours = np.array([[[10, 20, 30], [40, 50, 60], [70, 80, 90]]], np.uint8)
    _assert_holds(_read(tmp_path, zoo.png_file(3, 1, bits, 3, rows, (palette,))), colours)
    alpha = np.array([[[0], [128], [255]]], np.uint8)
    data = zoo.png_file(3, 1, bits, 3, rows, (palette, (b"tRNS", b"\x00\x80")))
    _assert_holds(_read(tmp_path, data), np.concatenate([colours, alpha], -1))


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_tiff_is_read_to_the_last_bit(tmp_path, channels, order, planar):
    for size in SIZES:
        pixels = _random(channels, size=size)
        _assert_holds(_read(tmp_path, zoo.tiff(pixels, order, planar=planar), "a.tif"), pixels)


def test_16_bit_tiff_kinds_of_alpha_and_white(tmp_path):
    colour = _random(3) // 4
    alpha = np.full((5, 7, 1), 2**14, np.uint16)
    alpha[0], colour[0] = 0, 0
    associated = _read(tmp_path, zoo.tiff(np.concatenate([colour, alpha], -1), t338=1), "a.tif")
    np.testing.assert_allclose(associated.rgb * np.float32(2**14 / 65535), colour / np.float32(65535), atol=1e-5)
    _assert_holds(_read(tmp_path, zoo.tiff(np.concatenate([colour, alpha], -1), t338=0), "b.tif"), colour)
    _assert_holds(_read(tmp_path, zoo.tiff(colour[..., :1], t262=0), "c.tif"), 65535 - colour[..., :1])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp", ".gif", ".jpg"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_modes_that_pillow_writes(tmp_path, mode, suffix):
    """The oracle is Pillow's own conversion of what it reads back."""
    source = Image.fromarray(_random(4, np.uint8)).convert(mode)
    path = tmp_path / f"a{suffix}"
    try:
        source.save(path)
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGBA"))
    except (OSError, ValueError):
        return  # the format lacks this mode, or Pillow cannot read it back
    photo = read_photo(path)
    rounding = int((mode, suffix) == ("YCbCr", ".tif"))  # libtiff's conversion to RGB rounds otherwise
    np.testing.assert_allclose(np.rint(photo.rgb * 255), expected[..., :3], atol=rounding)
    if photo.alpha is None:
        assert (expected[..., 3] == 255).all()
    else:
        np.testing.assert_array_equal(np.rint(photo.alpha * 255), expected[..., 3])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_round_trip(tmp_path, monkeypatch, suffix, channels, dtype, size):
    monkeypatch.setattr(sixteen_bit, "_STRIP_BYTES", 40)  # several strips
    pixels = _random(channels, dtype, size)
    photo = _read(tmp_path, zoo.png(pixels))
    path = tmp_path / f"out{suffix}"
    write_photo(path, photo)
    _assert_holds(read_photo(path), pixels)
    if suffix == ".png":
        with Image.open(path) as image:
            image.verify()
    if dtype == np.uint8 or channels == 1:  # Pillow reads these to the last bit
        with Image.open(path) as image:
            assert image.mode == ("I;16" if dtype == np.uint16 else ["L", "LA", "RGB", "RGBA"][channels - 1])
            np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_lossy_round_trip_keeps_channels_and_rounds_16_bits(tmp_path, suffix, channels, dtype):
    top = np.iinfo(dtype).max
    pixels = np.full((16, 16, channels), top // 3, dtype)
    photo = _read(tmp_path, zoo.png(pixels))
    path = tmp_path / f"out{suffix}"
    write_photo(path, photo, quality=100)
    back = read_photo(path)
    opaque = channels in (1, 3)
    expected = 1 / 3 if opaque or suffix == ".webp" else 1 / 9 + 2 / 3  # JPEG: on white
    np.testing.assert_allclose(back.rgb, expected, atol=2.5 / 255)
    assert back.depth == 8
    assert back.grey == (channels < 3 and suffix != ".webp")
    assert (back.alpha is None) == (opaque or suffix != ".webp")
    if back.alpha is not None:
        np.testing.assert_array_equal(back.alpha, np.float32(1 / 3))


def test_8_bit_values_are_rounded_and_clipped(tmp_path):
    values = np.array([[0.999, 0.501 / 255, 0.499 / 255, -0.5, 1.5]], np.float32)
    photo = Photo(values[..., None].repeat(3, -1), None, 8, True, None, None, "a")
    for suffix in (".png", ".tif"):
        write_photo(tmp_path / f"a{suffix}", photo)
        with Image.open(tmp_path / f"a{suffix}") as image:
            assert np.asarray(image).tolist() == [[255, 1, 0, 0, 255]]


@pytest.mark.parametrize("suffix", [".png", ".TIF", ".jpg", ".webp"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_pixels_become_the_same_file_as_their_photograph(tmp_path, suffix, channels, depth):
    """The oracle is the photograph's own integers, at the format's depth."""
    pixels = _random(channels, np.uint16 if depth == 16 else np.uint8)
    photo = dataclasses.replace(_read(tmp_path, zoo.png(pixels)), exif=clean_exif(zoo.exif()))
    assert photo.exif
    write_photo(tmp_path / f"photo{suffix}", photo)
    dtype = pixel_dtype(f"a{suffix}", depth)
    assert dtype == (np.uint16 if depth == 16 and suffix in (".png", ".TIF") else np.uint8)
    if dtype == np.uint8 and depth == 16:
        pixels = np.rint(pixels / 257).astype(np.uint8)
    write_pixels(tmp_path / f"pixels{suffix}", pixels, photo)
    assert (tmp_path / f"pixels{suffix}").read_bytes() == (tmp_path / f"photo{suffix}").read_bytes()


def test_jpeg_shows_pixels_on_white(tmp_path):
    pixels = np.full((16, 16, 4), (100, 0, 200, 128), np.uint8)
    write_pixels(tmp_path / "a.jpg", pixels, _read(tmp_path, zoo.png(pixels)), quality=100)
    expected = np.array([100, 0, 200]) * 128 / 255 + 127
    np.testing.assert_allclose(read_photo(tmp_path / "a.jpg").rgb * 255, np.broadcast_to(expected, (16, 16, 3)), atol=2)


def test_pixels_are_not_copied(tmp_path):
    pixels = np.zeros((512, 512, 3), np.uint8)
    photo = _read(tmp_path, zoo.png(pixels[:1]))
    write_pixels(tmp_path / "a.png", pixels, photo)
    tracemalloc.start()
    write_pixels(tmp_path / "a.png", pixels, photo)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pixels.nbytes / 4


def test_deep_pixels_are_refused_where_the_format_has_8_bits(tmp_path):
    photo = _read(tmp_path, zoo.png(_random(3)))
    with pytest.raises(ImageFileError, match=r"a\.jpg: \.jpg holds 8 bits a channel; write \.png or \.tif"):
        write_pixels(tmp_path / "a.jpg", _random(3), photo)


@pytest.mark.parametrize("error", [RuntimeError("PngError"), MemoryError(), TypeError("odd")])
def test_whatever_an_encoder_raises_is_named(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    photo = _read(tmp_path, zoo.png(_random(3)))
    monkeypatch.setattr("jaxsr.imaging.files.encode_png16", fail)
    with pytest.raises(ImageFileError, match=rf"b\.png: cannot be encoded \({error or 'MemoryError'}\)"):
        write_photo(tmp_path / "b.png", photo)


def test_quality_changes_jpeg_and_webp_and_is_checked(tmp_path):
    photo = _read(tmp_path, zoo.png(_random(3, np.uint8, (32, 32))))
    for suffix in (".jpg", ".webp"):
        sizes = []
        for quality in (20, 95):
            write_photo(tmp_path / f"q{suffix}", photo, quality=quality)
            sizes.append((tmp_path / f"q{suffix}").stat().st_size)
        assert sizes[0] < 0.7 * sizes[1]
    for quality in (0, 101):
        with pytest.raises(ValueError, match=f"quality is {quality}; give a number from 1 to 100"):
            write_photo(tmp_path / "q.jpg", photo, quality=quality)


def test_jpeg_keeps_colour_of_single_pixels(tmp_path):
    """Columns one pixel wide are red and blue in turn; halved colour (4:2:0) would make them purple."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, ::2, 0], pixels[:, 1::2, 2] = 255, 255
    write_photo(tmp_path / "a.jpg", _read(tmp_path, zoo.png(pixels)))
    np.testing.assert_allclose(read_photo(tmp_path / "a.jpg").rgb, pixels / np.float32(255), atol=0.2)


def test_tiff_values_start_on_even_bytes(tmp_path):
    """TIFF 6.0, section 2: readers may refuse a directory or a value at an odd offset."""
    photo = _read(tmp_path, zoo.png(_random(3), chunks=((b"eXIf", zoo.exif()[6:]),)))
    starts = []
    for icc in (None, b"x" * 16 + b"RGB " + b"x" * 111):
        for rows in range(1, 4):
            write_photo(tmp_path / "a.tif", dataclasses.replace(photo, icc=icc, rgb=photo.rgb[:rows]))
            data = (tmp_path / "a.tif").read_bytes()
            (start,) = struct.unpack_from("<L", data, 4)
            for index in range(struct.unpack_from("<H", data, start)[0]):
                tag, kind, count, field = struct.unpack_from("<HHLL", data, start + 2 + 12 * index)
                if {2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind] * count > 4 or tag in (34665, 34853):
                    starts.append(field)
            starts.append(start)
    assert not any(start % 2 for start in starts)


@pytest.mark.parametrize(
    "name", ["Grüße 東京 🗼.png", "two  spaces .tif", "%41'\"$.webp", ".hidden.jpg", "x" * 251 + ".png"]
)
def test_names_and_new_folders(tmp_path, name):
    photo = _read(tmp_path, zoo.png(_random(3, np.uint8)))
    path = tmp_path / "neu/ü b" / name
    write_photo(str(path), photo)
    assert read_photo(path).source == str(path)
    assert read_photo(path).rgb.shape == photo.rgb.shape
    assert os.listdir(path.parent) == [name]


def test_first_frame_of_many(tmp_path):
    frames = [Image.new("L", (3, 2), level) for level in (50, 200)]
    for suffix in (".gif", ".tif", ".webp"):
        frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], lossless=True)
        np.testing.assert_array_equal(np.rint(read_photo(tmp_path / f"a{suffix}").rgb * 255), 50)
