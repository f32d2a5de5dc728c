"""Test YCbCr in TIFF files: against libtiff's colours, in every compression, coarser colours, and damage."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxsr.imaging.files import ImageFileError, read_photo
from jaxsr.imaging.tiff_ycbcr import to_rgb

Y, X = np.mgrid[0:30, 0:41]
PICTURE = np.stack([X * 6, Y * 8, 128 + 0 * X], -1).astype(np.uint8)
YCBCR = np.asarray(Image.fromarray(PICTURE).convert("YCbCr"))
LAYOUTS = [{}, {"planarconfig": "separate"}, {"tile": (16, 16)}]
COMPRESSIONS = [None, "lzw", "deflate", "packbits", "zstd", "lzma", "jpeg2000", "png", "jpegxl", "jpegxr"]


def numbers(path):
    return np.rint(read_photo(path).rgb * 255)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["strips", "planes", "tiles"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_has_the_same_colours(tmp_path, compression, layout):
    stored = np.moveaxis(YCBCR, -1, 0) if "planarconfig" in layout else YCBCR
    options = {"photometric": "ycbcr", "compression": compression, "metadata": None} | layout
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    np.testing.assert_array_equal(numbers(tmp_path / "a.tif"), to_rgb(YCBCR))
    np.testing.assert_allclose(numbers(tmp_path / "a.tif"), PICTURE, atol=3)


def test_planes_of_jpeg_have_the_same_colours(tmp_path):
    options = {"photometric": "ycbcr", "compression": "jpeg", "metadata": None, "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(YCBCR, -1, 0), **options, compressionargs={"level": 100})
    np.testing.assert_allclose(numbers(tmp_path / "a.tif"), PICTURE, atol=5)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["strips", "planes", "tiles"])
@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzma"])
def test_damage_is_refused(tmp_path, compression, layout):
    stored = np.moveaxis(YCBCR, -1, 0) if "planarconfig" in layout else YCBCR
    options = {"photometric": "ycbcr", "compression": compression, "metadata": None} | layout
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at, size = file.pages[0].dataoffsets[-1], file.pages[0].databytecounts[-1]
    data[at + size // 2 : at + size] = b"\xff" * (size - size // 2)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageFileError, match="damaged or cut short"):
        read_photo(tmp_path / "a.tif")


def units(factors, rows, padded):
    """Write pixels as data units, in strips of some rows (TIFF 6.0, section 21); `padded`: the last one too."""
    across, down = factors
    strips = []
    for top in range(0, len(YCBCR), rows):
        part = YCBCR[top : top + rows]
        part = np.pad(part, ((0, rows - len(part)), (0, 0), (0, 0)), mode="edge") if padded else part
        tall, wide = -(-part.shape[0] // down) * down, -(-part.shape[1] // across) * across
        part = np.pad(part, ((0, tall - part.shape[0]), (0, wide - part.shape[1]), (0, 0)), mode="edge")
        found = [
            [*part[i : i + down, j : j + across, 0].ravel(), *part[i, j, 1:]]
            for i in range(0, tall, down)
            for j in range(0, wide, across)
        ]
        strips.append(np.array(found, np.uint8).tobytes())
    return strips


def write(path, factors, *, rows=30, compression=1, coefficients=None, reference=None, told=True, padded=False):
    """Write a little-endian TIFF with data units."""
    encode = {1: bytes, 8: zlib.compress, 5: imagecodecs.lzw_encode}[compression]
    strips = [encode(strip) for strip in units(factors, rows, padded)]
    tags = {256: [41], 257: [30], 258: [8, 8, 8], 259: [compression], 262: [6], 277: [3], 278: [rows], 284: [1]}
    tags |= {530: list(factors)} if told else {}
    wide = {273: (4, "I"), 279: (4, "I"), 529: (5, "II"), 532: (5, "II")}
    values = {273: [0] * len(strips), 279: [len(strip) for strip in strips]} | tags
    fractions = {529: coefficients, 532: reference}
    values |= {code: [(round(n * 1000), 1000) for n in given] for code, given in fractions.items() if given}
    body = 8 + 2 + 12 * len(values) + 4
    sizes = {code: struct.calcsize("<" + wide.get(code, (3, "H"))[1]) * len(given) for code, given in values.items()}
    pixels = body + sum(size for size in sizes.values() if size > 4)
    ends = np.cumsum([0, *(len(strip) for strip in strips)])
    values[273] = [pixels + int(end) for end in ends[:-1]]
    directory, more = struct.pack("<H", len(values)), b""
    for code in sorted(values):
        kind, form = wide.get(code, (3, "H"))
        packed = b"".join(struct.pack("<" + form, *np.atleast_1d(value).tolist()) for value in values[code])
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", body + len(more))
        more += packed if len(packed) > 4 else b""
        directory += struct.pack("<HHI", code, kind, len(values[code])) + place
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + more + b"".join(strips))


@pytest.mark.parametrize("rows", [30, 8])
@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("factors", [(2, 2), (2, 1), (1, 2), (4, 1), (4, 2)])
def test_coarser_colours_are_those_of_libtiff(tmp_path, factors, compression, rows):
    write(tmp_path / "a.tif", factors, compression=compression, rows=rows)
    expected = imagecodecs.tiff_decode((tmp_path / "a.tif").read_bytes(), asrgb=True)[..., :3]
    np.testing.assert_allclose(numbers(tmp_path / "a.tif"), expected, atol=2)


@pytest.mark.parametrize("compression", [1, 5, 8])
def test_a_last_strip_may_have_all_its_rows(tmp_path, compression):
    write(tmp_path / "a.tif", (2, 2), compression=compression, rows=8, padded=True)
    write(tmp_path / "b.tif", (2, 2), compression=compression, rows=8)
    np.testing.assert_array_equal(numbers(tmp_path / "a.tif"), numbers(tmp_path / "b.tif"))


@pytest.mark.parametrize("compression", [1, 5, 8])
def test_three_bytes_a_pixel_are_whole_colours(tmp_path, compression):
    write(tmp_path / "a.tif", (1, 1), compression=compression, rows=8, told=False)
    np.testing.assert_array_equal(numbers(tmp_path / "a.tif"), to_rgb(YCBCR))


def test_colours_are_halved_where_the_file_does_not_say(tmp_path):
    for name, told in (("a.tif", True), ("b.tif", False)):
        write(tmp_path / name, (2, 2), told=told)
    np.testing.assert_array_equal(numbers(tmp_path / "a.tif"), numbers(tmp_path / "b.tif"))


@pytest.mark.parametrize("coefficients", [None, (0.2125, 0.7154, 0.0721)])
@pytest.mark.parametrize("reference", [None, (16, 235, 128, 240, 128, 240)])
def test_coefficients_and_levels_of_the_file_count(tmp_path, coefficients, reference):
    write(tmp_path / "a.tif", (2, 1), coefficients=coefficients, reference=reference)
    expected = imagecodecs.tiff_decode((tmp_path / "a.tif").read_bytes(), asrgb=True)[..., :3]  # by whole numbers
    np.testing.assert_allclose(numbers(tmp_path / "a.tif"), expected, atol=3)
    assert (coefficients is reference is None) == bool((numbers(tmp_path / "a.tif") == to_rgb(_halved())).all())


def _halved():
    return np.concatenate([YCBCR[..., :1], YCBCR[:, ::2, 1:].repeat(2, axis=1)[:, :41]], -1)


@pytest.mark.parametrize("wrong", [(0, 0, 0), (1.0,), "x", None, (1, 0, 1, 0, 1, 0), (1, 1, 1), (0.5, -0.1, 0.6)])
def test_numbers_that_cannot_be_right_give_the_defaults(wrong):
    video, bt709 = (16, 235, 128, 240, 128, 240), (0.2126, 0.7152, 0.0722)
    np.testing.assert_array_equal(to_rgb(YCBCR, wrong, video), to_rgb(YCBCR, None, video))
    np.testing.assert_array_equal(to_rgb(YCBCR, bt709, (255, 0, 128, 255, 128, 255)), to_rgb(YCBCR, bt709))
    assert (to_rgb(YCBCR, bt709, video) != to_rgb(YCBCR)).any()


def test_coarser_colours_that_end_too_early_are_refused(tmp_path):
    write(tmp_path / "a.tif", (2, 2), compression=8)
    data = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at, size = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    short = zlib.compress(zlib.decompress(data[at : at + size])[:-40], 0)
    (tmp_path / "a.tif").write_bytes(data[:at] + short[:size].ljust(size, b"\0"))
    with pytest.raises(ImageFileError, match="damaged or cut short"):
        read_photo(tmp_path / "a.tif")
