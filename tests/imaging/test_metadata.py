"""Test that EXIF and ICC survive read and write, are true of the new pixels, and never cost the photograph."""

import dataclasses
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps

from jaxsr.imaging.files import read_photo, write_photo
from jaxsr.imaging.metadata import UNUSABLE, clean_exif, parse_directories
from jaxsr.imaging.tiff import FROM_CMYK
from tests.imaging import image_zoo as zoo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRADIENT = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
WRITERS = [".png", ".jpg", ".webp", ".tif"]


def _saved(path, **options):
    Image.fromarray(GRADIENT).save(path, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "png16", "tiff16"])
def test_every_orientation_is_turned_once(tmp_path, orientation, kind):
    """The oracle is Pillow's own turning of the 8-bit image: every pixel must land in the same place."""
    suffix = ".tif" if "tiff" in kind else ".webp" if kind == "webp" else ".png"
    path, plain = tmp_path / f"turned{suffix}", tmp_path / "plain.png"
    block = zoo.exif(orientation=orientation)
    with Image.open(_saved(plain, exif=block)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    pixels = GRADIENT.astype(np.uint16) * 257 if kind.endswith("16") else GRADIENT
    if kind == "webp":
        _saved(path, exif=block, lossless=True)
    elif "tiff" in kind:
        path.write_bytes(zoo.tiff(pixels, t274=orientation))
    else:
        path.write_bytes(zoo.png(pixels, chunks=((b"eXIf", block[6:]),)))
    photo = read_photo(path)
    np.testing.assert_array_equal(np.rint(photo.rgb * 255), expected)
    copy = tmp_path / "copy.png"
    write_photo(copy, photo)
    np.testing.assert_array_equal(read_photo(copy).rgb, photo.rgb)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", WRITERS)
def test_exif_is_kept_and_made_true(tmp_path, suffix, order, depth):
    photo = dataclasses.replace(read_photo(_saved(tmp_path / "a.jpg", exif=zoo.exif(order))), depth=depth)
    path = tmp_path / f"out{suffix}"
    write_photo(path, photo)
    assert "Jörg Ångström".encode() in path.read_bytes()
    assert b"THUMBNAIL" not in path.read_bytes()
    assert b"MAKER NOTE" not in path.read_bytes()
    with Image.open(path) as image:  # an independent reader
        seen = image.getexif()
        inner, gps, thumbnail = (
            seen.get_ifd(ifd) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.IFD1)
        )
    assert seen[271] == "Camera"
    assert seen.get(274, 1) == 1
    assert inner[36867] == "2020:01:02 03:04:05"
    assert float(inner[37380]) == pytest.approx(1 / 3)
    assert inner[37510] == b"ASCII\0\0\0note"
    assert not {37500, 40962, 40963} & inner.keys()
    assert gps[2] == (48.0, 30.0, 0.0)
    assert not thumbnail
    assert read_photo(path).exif == photo.exif  # types and values, through any format


def test_types_of_exif_values_stay():
    _, directories = parse_directories(clean_exif(zoo.exif()) or b"")
    assert directories[34665][37510][0] == 7
    assert directories[34665][37380][0] == 10
    assert directories[0][274] == (3, struct.pack("<H", 1))


@pytest.mark.parametrize("cut", range(6, len(zoo.exif()), 7))
def test_broken_exif_never_stops_a_photograph(tmp_path, cut):
    path = tmp_path / "a.webp"
    Image.fromarray(GRADIENT).save(path, lossless=True, exif=zoo.exif(orientation=1)[:cut])
    np.testing.assert_array_equal(np.rint(read_photo(path).rgb * 255), GRADIENT)


def test_values_that_overlap_cannot_swell_the_exif():
    many = {tag: (7, 900, bytes(900)) for tag in range(40091, 40096)}
    block = bytearray(b"II*\0\x08\0\0\0" + zoo.directory(many, 8, "<"))
    start = struct.unpack_from("<L", block, 10 + 8)[0]
    for index in range(5):
        struct.pack_into("<L", block, 10 + 12 * index + 8, start)
    assert len(clean_exif(bytes(block[: start + 900])) or b"") < 2 * (start + 900)


def test_no_exif_stays_none(tmp_path):
    for suffix in WRITERS:
        write_photo(tmp_path / f"a{suffix}", read_photo(_saved(tmp_path / "plain.png")))
        assert read_photo(tmp_path / f"a{suffix}").exif is None


def test_exif_in_png_text_is_read(tmp_path):
    """ImageMagick wrote EXIF like this before PNG had a chunk for it."""
    block = zoo.exif(orientation=6)
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    chunk = (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    (tmp_path / "a.png").write_bytes(zoo.png(GRADIENT, chunks=(chunk,)))
    photo = read_photo(tmp_path / "a.png")
    assert photo.exif == clean_exif(block)
    assert photo.rgb.shape == (3, 2, 3)


def test_exif_too_long_for_jpeg_is_left_out_with_a_warning(tmp_path):
    long = b"Exif\0\0II*\0\x08\0\0\0" + zoo.directory({270: (2, 70000, b"x" * 70000)}, 8, "<")
    photo = dataclasses.replace(read_photo(_saved(tmp_path / "a.png")), exif=clean_exif(long))
    with pytest.warns(UserWarning, match=r"a\.png: its EXIF is too long for JPEG"):
        write_photo(tmp_path / "a.jpg", photo)
    write_photo(tmp_path / "a.webp", photo)
    assert read_photo(tmp_path / "a.jpg").exif is None
    assert read_photo(tmp_path / "a.webp").exif == photo.exif


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", WRITERS)
def test_icc_is_kept(tmp_path, suffix, depth):
    photo = read_photo(_saved(tmp_path / "a.png", icc_profile=SRGB))
    assert photo.icc == SRGB
    write_photo(tmp_path / f"b{suffix}", dataclasses.replace(photo, depth=depth))
    assert read_photo(tmp_path / f"b{suffix}").icc == SRGB
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.info["icc_profile"] == SRGB


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", WRITERS)
def test_a_profile_is_written_only_where_it_fits_the_channels(tmp_path, suffix, depth):
    grey = zoo.icc(b"GRAY")
    Image.fromarray(GRADIENT[..., 0]).save(tmp_path / "grey.png", icc_profile=grey)
    photo = dataclasses.replace(read_photo(tmp_path / "grey.png"), depth=depth)
    path = tmp_path / f"out{suffix}"
    write_photo(path, photo)
    assert read_photo(path).icc == (None if suffix == ".webp" else grey)
    assert read_photo(path).grey == (suffix != ".webp")
    write_photo(path, dataclasses.replace(photo, icc=SRGB))
    assert read_photo(path).icc is None
    write_photo(path, dataclasses.replace(photo, grey=False))
    assert read_photo(path).icc is None


def test_grey_profile_is_applied_for_webp(tmp_path):
    """Half of linear light is 0.735 in sRGB (IEC 61966-2-1)."""
    Image.new("L", (16, 16), 128).save(tmp_path / "grey.png", icc_profile=zoo.icc(b"GRAY"))
    write_photo(tmp_path / "a.webp", read_photo(tmp_path / "grey.png"), quality=100)
    expected = 1.055 * (128 / 255) ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(read_photo(tmp_path / "a.webp").rgb, expected, atol=2 / 255)


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_cmyk_goes_through_its_profile(tmp_path, suffix):
    """Ink of L*=50.2 (CIE 1976) is 0.468 in sRGB; without a profile, or with a broken one, full cyan is (0, 1, 1)."""
    path, cyan = tmp_path / f"ink{suffix}", Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    for useless in (None, b"broken" * 40):
        cyan.save(path, icc_profile=useless)
        np.testing.assert_allclose(read_photo(path).rgb[3, 3], [0, 1, 1], atol=2 / 255)
        assert (UNUSABLE in read_photo(path).lost) == (useless is not None)
    cyan.save(path, icc_profile=zoo.icc(b"CMYK"))
    luminance = ((100 * 128 / 255 + 16) / 116) ** 3
    np.testing.assert_allclose(read_photo(path).rgb, 1.055 * luminance ** (1 / 2.4) - 0.055, atol=3 / 255)
    assert read_photo(path).icc is None
    assert read_photo(path).lost == (FROM_CMYK,)


def test_reading_leaves_pillow_and_warnings_as_they_were(tmp_path):
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    read_photo(_saved(tmp_path / "a.png"))
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == list(warnings.filters)
