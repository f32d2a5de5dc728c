"""Test what files of many formats say of their colours, transparency and frames: it is kept, used, or told."""

import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxsr.imaging.colour import ADOBE, UNKNOWN, bmp_profile, make_profile, png_profile
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.tiff import FIRST_ONLY, MASK_LOST
from tests.imaging.test_other_layouts import PICTURE, XMP, X, Y, chunk

ICC = make_profile(ADOBE, 2.2)
ADOBE_XYZ = (0.5767, 0.2973, 0.0270, 0.1856, 0.6274, 0.0707, 0.1882, 0.0753, 0.9911)
SRGB_XYZ = (0.4124, 0.2126, 0.0193, 0.3576, 0.7152, 0.1192, 0.1805, 0.0722, 0.9505)


def bmp(kind: bytes, *, icc: bytes = b"", ends=(0.0,) * 9, gammas=(0.0,) * 3, size: int = 124) -> bytes:
    """Write PICTURE as a BMP with a header of version 4 or 5."""
    height, width = PICTURE.shape[:2]
    rows = PICTURE[::-1, :, ::-1].tobytes()  # 52 pixels of 3 bytes need no padding
    head = struct.pack("<LllHHLLllLL", size, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0) + bytes(16) + kind
    head += struct.pack("<9l3L", *(round(n * 2**30) for n in ends), *(round(n * 2**16) for n in gammas))
    head += struct.pack("<4L", 0, size + len(rows) if icc else 0, len(icc), 0) * (size == 124)
    return b"BM" + struct.pack("<LHHL", 14 + size + len(rows) + len(icc), 0, 0, 14 + size) + head + rows + icc


SRGB_PLACES = (0.64, 0.33, 0.03, 0.30, 0.60, 0.10, 0.15, 0.06, 0.79)


@pytest.mark.parametrize("size", [108, 124])
@pytest.mark.parametrize(
    ("ends", "gammas", "lost"),
    [
        (SRGB_XYZ, (2.2,) * 3, ()),
        (SRGB_PLACES, (2.2,) * 3, ()),
        (SRGB_PLACES, (0.4545,) * 3, ()),
        ((0.0,) * 9, (2.2,) * 3, ()),
        (SRGB_XYZ, (1.0,) * 3, (UNKNOWN,)),
        (SRGB_XYZ, (2.2, 1.8, 2.2), (UNKNOWN,)),
        (ADOBE_XYZ, (2.2,) * 3, (UNKNOWN,)),
        ((0.1, *(0,) * 8), (2.2,) * 3, (UNKNOWN,)),
    ],
)
def test_other_colours_of_a_bmp_are_noted(tmp_path, size, ends, gammas, lost):
    (tmp_path / "a.bmp").write_bytes(bmp(bytes(4), ends=ends, gammas=gammas, size=size))
    photo = read_photo(tmp_path / "a.bmp")
    np.testing.assert_allclose(photo.rgb * 255, PICTURE, atol=1e-3)
    assert (photo.icc, photo.lost) == (None, lost)


def test_the_profile_in_a_bmp_is_kept(tmp_path):
    (tmp_path / "a.bmp").write_bytes(bmp(b"DEBM", icc=ICC))
    assert read_photo(tmp_path / "a.bmp").icc == ICC
    assert bmp_profile(bmp(b"DEBM", icc=ICC)[:-9]) == (None, (UNKNOWN,))
    assert bmp_profile(bmp(b"KNIL")) == (None, (UNKNOWN,))


@pytest.mark.parametrize("kind", [b"BGRs", b" niW", bytes(4)])
def test_a_bmp_of_plain_colours_has_no_profile(kind):
    assert bmp_profile(bmp(kind)) == (None, ())
    assert bmp_profile(bmp(kind)[:60]) == (None, ())


def test_profile_and_xmp_of_a_gif_are_kept(tmp_path):
    Image.fromarray(PICTURE).quantize(64).save(tmp_path / "a.gif")
    data = (tmp_path / "a.gif").read_bytes()
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    parts = b"".join(bytes([len(ICC[i : i + 255])]) + ICC[i : i + 255] for i in range(0, len(ICC), 255))
    blocks = b"\x21\xff\x0bICCRGBG1012" + parts + b"\0"
    blocks += b"\x21\xff\x0bXMP DataXMP" + XMP + b"\1" + bytes(range(255, -1, -1)) + b"\0"
    (tmp_path / "b.gif").write_bytes(data[:at] + blocks + data[at:])
    plain, told = read_photo(tmp_path / "a.gif"), read_photo(tmp_path / "b.gif")
    np.testing.assert_array_equal(plain.rgb, told.rgb)
    assert (plain.icc, plain.xmp) == (None, None)
    assert told.icc == ICC
    assert b"me" in told.xmp


@pytest.mark.parametrize("chunks", [chunk(b"cHRM", bytes(32)), chunk(b"gAMA", bytes(4)), chunk(b"cHRM", b"short")])
def test_a_png_with_impossible_colours_is_noted(chunks):
    data = b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", b"")
    assert png_profile(data, None, grey=False) == (None, (UNKNOWN,))
    assert png_profile(data, ICC, grey=False) == (ICC, ())


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_transparency_mask_is_alpha(tmp_path, depth):
    inside = (X - 26) ** 2 + (Y - 18) ** 2 < 200
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PICTURE.astype(depth), photometric="rgb", metadata=None)
        file.write(inside, photometric="mask", subfiletype=4, metadata=None)
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.alpha, inside.astype(np.float32))
    np.testing.assert_allclose(photo.rgb * np.iinfo(depth).max, PICTURE, atol=1e-3)
    assert photo.lost == ()
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        both = np.dstack([PICTURE, np.full(X.shape, 90, np.uint8)])
        file.write(both, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
        file.write(inside, photometric="mask", subfiletype=4, metadata=None)
    assert read_photo(tmp_path / "b.tif").lost == (MASK_LOST,)


def write_mask(path, mask=None, *, second=False, **options):
    with tifffile.TiffWriter(path) as file:
        file.write(PICTURE, photometric="rgb", metadata=None)
        if second:
            file.write(255 - PICTURE, photometric="rgb", metadata=None)
        file.write(X > 9 if mask is None else mask, photometric="mask", subfiletype=4, metadata=None, **options)


@pytest.mark.parametrize("damage", ["offset", "beyond", "bytes"])
def test_a_damaged_mask_is_told(tmp_path, damage):
    write_mask(tmp_path / "a.tif", compression="deflate")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tag, place = file.pages[1].tags[273], file.pages[1].dataoffsets[0]
    if damage == "bytes":
        data[place : place + 6] = b"\xff" * 6
    else:
        data[tag.valueoffset : tag.valueoffset + 4] = struct.pack("<L", 0 if damage == "offset" else 10**8)
    (tmp_path / "a.tif").write_bytes(data)
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_allclose(photo.rgb * 255, PICTURE, atol=1e-3)
    assert photo.alpha is None
    assert photo.lost == (MASK_LOST,)


def test_a_mask_belongs_to_the_photograph_before_it(tmp_path):
    write_mask(tmp_path / "a.tif", second=True)
    photo = read_photo(tmp_path / "a.tif")
    assert (photo.alpha, photo.lost) == (None, (FIRST_ONLY,))


@pytest.mark.parametrize(
    ("tag", "word"),
    [((37724, 7, 20, b"Adobe Photoshop Docu", True), "layers"), ((34735, 3, 4, (1, 1, 0, 0), True), "map")],
)
def test_layers_and_places_are_noted(tmp_path, tag, word):
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, photometric="rgb", metadata=None, extratags=[tag])
    (note,) = read_photo(tmp_path / "a.tif").lost
    assert word in note


def test_an_animated_avif_is_noted(tmp_path):
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(np.stack([PICTURE, PICTURE[::-1]]), level=100))
    photo = read_photo(tmp_path / "a.avif")
    np.testing.assert_allclose(photo.rgb * 255, PICTURE, atol=3)
    assert FIRST_ONLY in photo.lost


def test_libpng_says_nothing_of_odd_chunks(tmp_path, capfd):
    Image.fromarray(PICTURE).save(tmp_path / "a.png", icc_profile=b"no profile")
    np.testing.assert_allclose(read_photo(tmp_path / "a.png").rgb * 255, PICTURE, atol=1e-3)
    assert capfd.readouterr() == ("", "")
