"""Test layouts of TIFF, JPEG XL and PNG files that few programs write: the pixels are the picture's, or are refused."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxsr.imaging.colour import ADOBE, HDR, NARROW, make_profile, png_profile
from jaxsr.imaging.decode import GREY_END
from jaxsr.imaging.files import ImageFileError, read_photo
from jaxsr.imaging.folders import list_images
from jaxsr.imaging.tiff import EXTRA_CHANNELS, FIRST_ONLY

Y, X = np.mgrid[0:36, 0:52]
PICTURE = np.stack([X * 4, Y * 6, X + Y], -1).astype(np.uint8)
TURNED = {
    2: PICTURE[:, ::-1],
    3: PICTURE[::-1, ::-1],
    4: PICTURE[::-1],
    5: PICTURE.swapaxes(0, 1),
    6: np.rot90(PICTURE, -1),
    7: PICTURE[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(PICTURE),
}
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="me"/></rdf:RDF></x:xmpmeta>'


def read(path):
    """Read a file's pixels as numbers from 0 to 255, with its alpha."""
    photo = read_photo(path)
    return photo.rgb * 255, photo


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_jpeg_xl_of_any_depth_is_bright(tmp_path, bits):
    numbers = np.rint(PICTURE * ((2**bits - 1) / 255)).astype(np.uint16)
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(numbers, lossless=True, bitspersample=bits))
    pixels, photo = read(tmp_path / "a.jxl")
    np.testing.assert_allclose(pixels, PICTURE, atol=255 / 2**bits)
    assert photo.depth == 16


def test_jpeg_xl_of_eight_bits_is_exact(tmp_path):
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(PICTURE, lossless=True))
    np.testing.assert_allclose(read(tmp_path / "a.jxl")[0], PICTURE, atol=1e-3)


@pytest.mark.parametrize("grey", [True, False])
def test_an_animated_jpeg_xl_is_its_first_frame(tmp_path, grey):
    frames = np.stack([PICTURE, 255 - PICTURE])[..., :1] if grey else np.stack([PICTURE, 255 - PICTURE])
    frames = frames[..., 0] if grey else frames
    options = {"photometric": "gray"} if grey else {}
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(frames, lossless=True, **options))
    pixels, photo = read(tmp_path / "a.jxl")
    np.testing.assert_allclose(pixels, PICTURE[..., [0, 0, 0]] if grey else PICTURE, atol=1e-3)
    assert FIRST_ONLY in photo.lost


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("compression", ["tiff_lzw", None])
def test_ycbcr_is_turned_once(tmp_path, orientation, compression):
    image = Image.fromarray(PICTURE).convert("YCbCr")
    image.save(tmp_path / "a.tif", compression=compression, tiffinfo={274: orientation})
    np.testing.assert_allclose(read(tmp_path / "a.tif")[0], TURNED[orientation], atol=3)


@pytest.mark.parametrize(("compression", "seed"), [("group3", 2), ("group3", 14), ("group4", 14), ("group4", 30)])
def test_damaged_fax_data_is_refused_where_two_decoders_differ(tmp_path, compression, seed):
    Image.fromarray((X // 9 + Y // 7) % 3 == 0).save(tmp_path / "a.tif", compression=compression, tiffinfo={278: 12})
    read_photo(tmp_path / "a.tif")
    data, random = bytearray((tmp_path / "a.tif").read_bytes()), np.random.default_rng(seed)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at, size = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    left = random.integers(size)
    data[at + left : at + size] = random.bytes(size - left)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageFileError, match="damaged or cut short"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("extra", ["assocalpha", "unassalpha"])
def test_inks_under_transparency_keep_their_colours(tmp_path, extra):
    inks, alpha = np.dstack([255 - PICTURE, 0 * X]), np.full(X.shape, 128, np.uint8)
    stored = np.rint(inks * (128 / 255)) if extra == "assocalpha" else inks
    stored = np.dstack([stored, alpha]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated", extrasamples=[extra], metadata=None)
    pixels, photo = read(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels, PICTURE, atol=1.01)
    np.testing.assert_allclose(photo.alpha, 128 / 255, atol=1e-6)


@pytest.mark.parametrize(("kind", "big"), [("B", False), ("H", False), ("I", False), ("Q", True), ("q", True)])
def test_an_orientation_of_any_integer_turns(tmp_path, kind, big):
    tags = [(274, kind, 1, 6, True)]
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, photometric="rgb", bigtiff=big, metadata=None, extratags=tags)
    np.testing.assert_allclose(read(tmp_path / "a.tif")[0], TURNED[6], atol=1e-3)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("first", "second", "expected"), [(None, 6, 6), (6, 1, 1), (6, None, 6)])
def test_what_is_told_of_the_photograph_is_its_own_directory_s(tmp_path, big, first, second, expected):
    orientation = lambda number: [(274, "H", 1, number, True)] if number else []  # noqa: E731
    about = [(700, "B", len(XMP), XMP, True), (315, "s", 0, "Ann", True)]
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=big) as file:
        small = {"subfiletype": 1, "extratags": orientation(first)}
        file.write(PICTURE[::4, ::4], photometric="rgb", metadata=None, **small)
        file.write(PICTURE, photometric="rgb", metadata=None, extratags=[*orientation(second), *about])
    pixels, photo = read(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels, TURNED.get(expected, PICTURE), atol=1e-3)
    assert b"Ann" in photo.exif
    assert b"dc:source" in photo.xmp


def test_the_first_directory_speaks_for_a_photograph_that_says_nothing(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        tags = [(700, "B", len(XMP), XMP, True), (315, "s", 0, "Ann", True)]
        file.write(PICTURE[::4, ::4], photometric="rgb", metadata=None, subfiletype=1, extratags=tags)
        file.write(PICTURE, photometric="rgb", metadata=None, software=False)
    photo = read_photo(tmp_path / "a.tif")
    assert b"Ann" in photo.exif
    assert b"dc:source" in photo.xmp


@pytest.mark.parametrize("kinds", [(0, 0, 2), (0, 0, 1), (0, 2)])
def test_a_first_band_is_no_grey_picture(tmp_path, kinds):
    samples = np.dstack([PICTURE, PICTURE])[..., : 1 + len(kinds)]
    settings = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", samples, extrasamples=kinds, **settings)
    with pytest.raises(ImageFileError, match="channels without a meaning as colours"):
        read_photo(tmp_path / "a.tif")


def test_grey_with_alpha_and_a_further_channel_is_grey(tmp_path):
    settings = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, extrasamples=(2, 0), **settings)
    pixels, photo = read(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels, PICTURE[..., [0, 0, 0]], atol=1e-3)
    np.testing.assert_allclose(photo.alpha * 255, PICTURE[..., 1], atol=1e-3)
    assert EXTRA_CHANNELS in photo.lost


def test_missing_strips_are_no_black_rows(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, photometric="rgb", rowsperstrip=12, metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = [file.pages.first.tags[code] for code in (273, 279)]
    for tag in tags:
        width = {3: 2, 4: 4}[int(tag.dtype)]
        data[tag.valueoffset + width : tag.valueoffset + 2 * width] = bytes(width)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageFileError, match="missing"):
        read_photo(tmp_path / "a.tif")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


GAMMA = chunk(b"gAMA", struct.pack(">L", 100_000))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((1, 13, 0, 0), (None, (NARROW,))),
        ((1, 13, 0, 1), (None, ())),
        ((1, 16, 0, 0), (None, (HDR, NARROW))),
        ((2, 16, 0, 1), (None, (HDR,))),
        ((2, 2, 0, 1), (make_profile((0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06), 1.0), ())),
        ((1, 13), (make_profile((0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06), 1.0), ())),
    ],
)
def test_code_points_of_a_png(points, expected):
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"cICP", bytes(points)) + GAMMA + chunk(b"IDAT", b"")
    assert png_profile(data, None, grey=False) == expected


BT_2020 = make_profile((0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046), None)
GIVEN = make_profile(ADOBE, 2.2)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((9, 13, 0, 1), (BT_2020, ())),
        ((1, 13, 0, 1), (None, ())),
        ((9, 16, 0, 1), (GIVEN, (HDR,))),
        ((22, 13, 0, 1), (GIVEN, ())),
        ((2, 2, 0, 1), (GIVEN, ())),
        ((), (GIVEN, ())),
    ],
)
def test_code_points_go_before_the_profile_of_a_png(points, expected):
    """cICP has the highest precedence where it is understood (PNG, third edition, 4.3)."""
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"cICP", bytes(points)) + GAMMA + chunk(b"IDAT", b"")
    assert png_profile(data, GIVEN, grey=False) == expected


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_with_an_early_end_is_noted(tmp_path, mode):
    Image.fromarray(PICTURE).convert(mode).resize((200, 160)).save(tmp_path / "a.jpg", quality=95)
    assert GREY_END not in read_photo(tmp_path / "a.jpg").lost
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: 2 * len(data) // 3] + b"\xff\xd9")
    assert GREY_END in read_photo(tmp_path / "a.jpg").lost


@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_of_more_pixels_than_its_bytes_can_hold_is_refused(tmp_path, progressive):
    blank = Image.new("RGB", (2000, 1000), "white")
    blank.save(tmp_path / "a.jpg", progressive=progressive, optimize=True, subsampling=2)
    assert read_photo(tmp_path / "a.jpg").rgb.min() == 1
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    data[at + 5 : at + 9] = struct.pack(">HH", 9000, 9000)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ImageFileError, match=r"damaged or cut short \(its pixels end too early\)"):
        read_photo(tmp_path / "a.jpg")


@pytest.mark.parametrize("brand", [b"avif", b"mif1", b"miaf"])
def test_avif_is_told_from_heic_by_all_its_brands(tmp_path, brand):
    Image.fromarray(PICTURE).save(tmp_path / "a.avif", quality=95)
    data = (tmp_path / "a.avif").read_bytes()
    (tmp_path / "a.avif").write_bytes(data[:8] + brand + data[12:])
    np.testing.assert_allclose(read(tmp_path / "a.avif")[0], PICTURE, atol=12)


def test_a_jpeg_of_twelve_bits_is_called_so(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    data[data.index(b"\xff\xc0") + 4] = 12
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ImageFileError, match="a JPEG of 12 bits is not supported"):
        read_photo(tmp_path / "a.jpg")


def test_ycbcr_with_alpha_is_called_so(tmp_path):
    samples = np.dstack([PICTURE, PICTURE[..., :1]])
    settings = {"planarconfig": "contig", "metadata": None, "extrasamples": (2,)}
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", **settings)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at = file.pages.first.tags[262].valueoffset
    data[at : at + 2] = struct.pack("<H", 6)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageFileError, match="YCbCr of 4 channels and 8 bits is not read"):
        read_photo(tmp_path / "a.tif")


def test_the_alpha_of_a_palette_is_scaled(tmp_path):
    """tifffile writes no palette with alpha, so a grey picture with alpha gets the palette's tags afterwards."""
    alpha = np.linspace(0, 65535, PICTURE[..., 0].size).astype(np.uint16).reshape(PICTURE.shape[:2])
    indices = PICTURE[..., 0].astype(np.uint16)
    table = np.zeros((3, 65536), np.uint16)
    table[:, :256] = np.arange(256) * 257
    settings = {"planarconfig": "contig", "metadata": None, "extrasamples": (2,)}
    samples = np.stack([indices, alpha], -1)
    extra = [(320, "H", table.size, table.ravel(), True)]
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack", extratags=extra, **settings)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at = file.pages.first.tags[262].valueoffset
    data[at : at + 2] = struct.pack("<H", 3)
    (tmp_path / "a.tif").write_bytes(data)
    pixels, photo = read(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels, PICTURE[..., [0, 0, 0]], atol=1e-3)
    np.testing.assert_allclose(photo.alpha * 255, alpha / 257, atol=0.51)


@pytest.mark.parametrize("name", ["a.dib", "a.apng", "a.jif", "a.jfi"])
def test_less_known_endings_are_found_and_read(tmp_path, name):
    form = {"dib": "BMP", "apng": "PNG"}.get(name[2:], "JPEG")
    Image.fromarray(PICTURE).save(tmp_path / name, form)
    assert list_images(tmp_path, recursive=False) == [tmp_path / name]
    np.testing.assert_allclose(read(tmp_path / name)[0], PICTURE, atol=12)
