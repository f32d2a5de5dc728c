"""Test what the colours of a file mean where it has no ICC profile, and that the meaning is in the result.

LittleCMS, through Pillow, is the oracle of the profiles: it converts a colour through ours as the definition says.
"""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from jaxsr.imaging.colour import ADOBE, DEPTH, GAIN_MAP, HDR, SRGB, UNKNOWN, heif_profile, make_profile, png_chunks
from jaxsr.imaging.files import read_photo, write_photo
from jaxsr.imaging.metadata import clean_exif
from tests.imaging import image_zoo as zoo

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def to_srgb(icc: bytes, colours, mode: str = "RGB") -> np.ndarray:
    image = Image.fromarray(np.array([colours], np.uint8), mode)
    profile = ImageCms.ImageCmsProfile(BytesIO(icc))
    return np.asarray(ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"))[0]


def linear(colours) -> np.ndarray:
    x = np.array(colours) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def encoded(values) -> np.ndarray:
    x = np.clip(values, 0, 1)
    return 255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def test_a_profile_of_srgb_changes_no_colour():
    colours = [(10, 128, 250), (255, 0, 0), (200, 100, 50), (0, 0, 0), (255, 255, 255)]
    np.testing.assert_allclose(to_srgb(make_profile(SRGB, None), colours), colours, atol=1)


def test_adobe_rgb_has_its_matrix_and_curve():
    """The oracle is the matrix of Adobe RGB (1998), section 4.3.5.3, and that of sRGB (IEC 61966-2-1)."""
    adobe = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]])
    srgb = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    colours = [(128, 128, 128), (150, 130, 110), (90, 120, 100), (180, 170, 200)]
    values = (np.array(colours) / 255) ** (563 / 256)
    expected = encoded(np.linalg.solve(srgb, adobe @ values.T).T)
    np.testing.assert_allclose(to_srgb(make_profile(ADOBE, 563 / 256), colours), expected, atol=1.5)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
def test_linear_light_in_png_is_said_in_the_result(tmp_path, grey, depth):
    pixels = PIXELS[..., :1] if grey else PIXELS
    pixels = pixels if depth == 8 else pixels.astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(zoo.png(pixels, chunks=((b"gAMA", struct.pack(">L", 100000)),)))
    photo = read_photo(tmp_path / "a.png")
    for suffix in (".png", ".tif", ".jpg"):
        write_photo(tmp_path / f"b{suffix}", photo)
        assert read_photo(tmp_path / f"b{suffix}").icc == photo.icc
    levels = np.array([0, 20, 55, 128, 255])
    shown = to_srgb(photo.icc, levels if grey else np.stack([levels] * 3, -1), "L" if grey else "RGB")
    np.testing.assert_allclose(shown[:, 0], encoded(levels / 255), atol=1)


def chunk(name: bytes, layout: str, *numbers: int) -> tuple[bytes, bytes]:
    return name, struct.pack(layout, *numbers)


GAMA = chunk(b"gAMA", ">L", 45455)
SRGB_CHRM = chunk(b"cHRM", ">8L", *(round(1e5 * number) for number in SRGB))
P3_CHRM = chunk(b"cHRM", ">8L", *(round(1e5 * number) for number in P3))


@pytest.mark.parametrize(
    ("chunks", "expected", "lost"),
    [
        ((), None, ()),
        ((GAMA,), None, ()),
        ((GAMA, SRGB_CHRM), None, ()),
        ((SRGB_CHRM,), None, ()),
        ((chunk(b"sRGB", "B", 0), P3_CHRM), None, ()),
        ((chunk(b"cICP", "4B", 1, 13, 0, 1), P3_CHRM), None, ()),
        ((GAMA, P3_CHRM), make_profile(P3, 1 / 0.45455), ()),
        ((chunk(b"cICP", "4B", 12, 13, 0, 1),), make_profile(P3, None), ()),
        ((chunk(b"cICP", "4B", 9, 16, 0, 1),), None, (HDR,)),
        ((chunk(b"cICP", "4B", 9, 18, 0, 1),), None, (HDR,)),
        ((chunk(b"cICP", "4B", 22, 13, 0, 1),), None, (UNKNOWN,)),
        ((chunk(b"gAMA", ">L", 0),), None, (UNKNOWN,)),
        ((chunk(b"cHRM", ">8L", *[0] * 8),), None, (UNKNOWN,)),
        ((chunk(b"gAMA", ">L", 1),), None, (UNKNOWN,)),
    ],
)
def test_chunks_of_png_say_what_colours_mean(tmp_path, chunks, expected, lost):
    (tmp_path / "a.png").write_bytes(zoo.png(PIXELS, chunks=chunks))
    photo = read_photo(tmp_path / "a.png")
    assert (photo.icc, photo.lost) == (expected, lost)


def test_a_profile_goes_before_all_other_chunks(tmp_path):
    icc = make_profile(P3, None)
    Image.fromarray(PIXELS).save(tmp_path / "a.png", icc_profile=icc)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:33] + zoo._chunk(*chunk(b"gAMA", ">L", 100000)) + data[33:])
    assert read_photo(tmp_path / "a.png").icc == icc
    assert png_chunks(data[:40]) == {b"IHDR": data[16:29]}


def test_hdr_is_noted_in_spite_of_a_profile(tmp_path):
    icc = make_profile(P3, None)
    Image.fromarray(PIXELS).save(tmp_path / "a.png", icc_profile=icc)
    data = (tmp_path / "a.png").read_bytes()
    for transfer, lost in ((16, (HDR,)), (18, (HDR,)), (77, ())):
        code_points = zoo._chunk(*chunk(b"cICP", "4B", 9, transfer, 0, 1))
        (tmp_path / "a.png").write_bytes(data[:33] + code_points + data[33:])
        photo = read_photo(tmp_path / "a.png")
        assert (photo.icc, photo.lost) == (icc, lost)


def adobe_exif(order: str, index: bytes = b"R03\0", space: int = 0xFFFF) -> bytes:
    short, long = (struct.Struct(order + letter).pack for letter in "HL")
    main = {34665: (4, 1, long(0))}
    inner = {40961: (3, 1, short(space)), 40965: (4, 1, long(0))}
    inner_at = 8 + len(zoo.directory(main, 8, order))
    interop_at = inner_at + len(zoo.directory(inner, inner_at, order))
    main, inner = {34665: (4, 1, long(inner_at))}, inner | {40965: (4, 1, long(interop_at))}
    blocks = zoo.directory(main, 8, order) + zoo.directory(inner, inner_at, order)
    blocks += zoo.directory({1: (2, 4, index)}, interop_at, order)
    return b"Exif\0\0" + (b"II*\0" if order == "<" else b"MM\0*") + long(8) + blocks


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
def test_cameras_tell_adobe_rgb_by_r03(tmp_path, order, suffix):
    adobe = make_profile(ADOBE, 563 / 256)
    for block, expected in (
        (adobe_exif(order), adobe),
        (adobe_exif(order, b"R98\0"), None),
        (adobe_exif(order, space=1), None),
        (zoo.exif(order), None),
    ):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(PIXELS).save(path, exif=block)
        photo = read_photo(path)
        assert photo.icc == expected
        write_photo(tmp_path / f"b{suffix}", photo)
        assert read_photo(tmp_path / f"b{suffix}").icc == expected
    own = make_profile(P3, None)
    Image.fromarray(PIXELS).save(path, exif=adobe_exif(order), icc_profile=own)
    assert read_photo(path).icc == own
    assert clean_exif(adobe_exif(order))


@pytest.mark.parametrize(
    "words",
    [
        b'hdrgm:Version="1.0"',
        b"http://ns.adobe.com/hdr-gain-map/1.0/",
        b"urn:com:apple:photo:2020:aux:hdrgainmap",
        b"urn:iso:std:iso:ts:21496:-1\0",
    ],
)
def test_a_gain_map_is_noted(tmp_path, words):
    stream = BytesIO()
    Image.fromarray(PIXELS).save(stream, "JPEG")
    data = stream.getvalue()
    segment = b"\xff\xe1" + struct.pack(">H", len(words) + 2) + words
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    assert read_photo(tmp_path / "a.jpg").lost == (GAIN_MAP,)
    (tmp_path / "b.jpg").write_bytes(data)
    assert read_photo(tmp_path / "b.jpg").lost == ()


def test_code_points_of_heif_are_read():
    box = lambda *numbers: b"\0\0\0\x13colrnclx" + struct.pack(">HHHB", *numbers)  # noqa: E731
    pixi = lambda *bits: b"\0\0\0\x10pixi\0\0\0\0" + bytes([len(bits), *bits])  # noqa: E731
    assert heif_profile(b"ftyp" + bytes(30), grey=False) == (None, ())
    assert heif_profile(box(1, 13, 6, 128) + pixi(8, 8, 8), grey=False) == (None, ())
    assert heif_profile(box(12, 13, 6, 128), grey=False) == (make_profile(P3, None), ())
    assert heif_profile(box(9, 16, 9, 128) + pixi(10, 10, 10), grey=False) == (None, (HDR, DEPTH))
    assert heif_profile(b"urn:com:apple:photo:2020:aux:hdrgainmap", grey=False) == (None, (GAIN_MAP,))
    for version, number in ((2, b"\0\7"), (3, b"\0\0\0\7")):
        item = b"infe" + bytes([version, 0, 0, 0]) + number + b"\0\0tmap\0"
        assert heif_profile(item, grey=False) == (None, (GAIN_MAP,))
    assert heif_profile(b"colrnclx", grey=False) == heif_profile(b"pixi", grey=False) == (None, ())
