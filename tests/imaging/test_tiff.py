"""Test TIFF files of all kinds: tifffile writes known samples, and they come back with the meaning that the tags give.

Right values are the arrays themselves, or TIFF 6.0's own words (white is zero, associated alpha, palettes).
"""

import struct
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxsr.imaging import sixteen_bit
from jaxsr.imaging.files import ImageFileError, Photo, read_photo, write_photo
from jaxsr.imaging.metadata import clean_exif, parse_directories, read_orientation
from jaxsr.imaging.tiff import EXTRA_CHANNELS, FIRST_ONLY, FROM_CMYK
from tests.imaging import image_zoo as zoo

H, W = 24, 32


def samples(channels: int, dtype=np.uint8, most: int | None = None) -> np.ndarray:
    most = np.iinfo(dtype).max if most is None else most
    return np.random.default_rng(channels).integers(0, most + 1, (H, W, channels)).astype(dtype)


def written(tmp_path, array: np.ndarray, *, planar: bool = False, **options) -> Photo:
    """Write (h, w, c) samples with tifffile, and read the photograph."""
    array = array[..., 0] if array.shape[-1] == 1 else np.moveaxis(array, -1, 0) if planar else array
    options = {"photometric": "rgb", "planarconfig": "separate" if planar else "contig"} | options
    if array.ndim == 2:
        del options["planarconfig"]
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None, **options)
    return read_photo(tmp_path / "a.tif")


def pixels(photo: Photo) -> np.ndarray:
    white = 2**photo.depth - 1
    parts = [photo.rgb[..., :1] if photo.grey else photo.rgb]
    parts += [] if photo.alpha is None else [photo.alpha[..., None]]
    return np.rint(np.concatenate(parts, -1) * white).astype(int)


LAYOUTS = [
    {},
    {"planar": True},
    {"tile": (16, 16)},
    {"planar": True, "tile": (16, 16), "compression": "lzw"},
    {"rowsperstrip": 5, "compression": "deflate", "predictor": True},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"bigtiff": True, "byteorder": ">", "planar": True},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("channels", "kind"),
    [
        (1, {"photometric": "minisblack"}),
        (2, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
        (3, {}),
        (4, {"extrasamples": ["unassalpha"]}),
    ],
)
def test_every_layout_gives_the_same_pixels(tmp_path, layout, dtype, channels, kind):
    array = samples(channels, dtype)
    photo = written(tmp_path, array, **kind, **layout)
    np.testing.assert_array_equal(pixels(photo), array)
    assert (photo.depth, photo.grey, photo.lost) == (8 * array.itemsize, channels < 3, ())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", ["packbits", "lzma", "zstd", "jpeg2000", "png", "jpegxl", "lzw", "webp"])
def test_every_lossless_compression_is_read(tmp_path, compression, dtype):
    if compression == "webp" and dtype == np.uint16:
        pytest.skip("WebP has 8 bits")
    array = samples(3, dtype)
    lossless = {"jpeg2000": {"reversible": True}, "jpegxl": {"lossless": True}, "webp": {"lossless": True}}
    options = {"compressionargs": lossless[compression]} if compression in lossless else {}
    np.testing.assert_array_equal(pixels(written(tmp_path, array, compression=compression, **options)), array)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_in_tiff_is_close(tmp_path, photometric):
    smooth = np.asarray(Image.fromarray(samples(3)[::6, ::6]).resize((W, H), Image.Resampling.BICUBIC))
    stored = smooth if photometric == "rgb" else np.asarray(Image.fromarray(smooth).convert("YCbCr"))
    photo = written(tmp_path, stored, photometric=photometric, compression="jpeg", compressionargs={"level": 98})
    assert np.abs(pixels(photo) - smooth).mean() < 3


@pytest.mark.parametrize(("bits", "depth"), [(10, 16), (12, 16), (14, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_of_few_bits_reach_white(tmp_path, bits, depth, channels):
    array = samples(channels, np.uint16, 2**bits - 1)
    array[0, 0], array[0, 1] = 0, 2**bits - 1
    photo = written(tmp_path, array, photometric="rgb" if channels == 3 else "minisblack", bitspersample=bits)
    assert photo.depth == depth
    assert (photo.rgb[0, 0].max(), photo.rgb[0, 1].min()) == (0, 1)
    np.testing.assert_allclose(pixels(photo), array * (65535 / (2**bits - 1)), atol=0.5)


@pytest.mark.parametrize("compression", [None, "group3", "group4", "packbits"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_bilevel(tmp_path, compression, white_is_zero):
    ink = np.random.default_rng(0).random((H, W)) < 0.5
    stream = BytesIO()
    Image.fromarray(ink).save(stream, "TIFF", compression=compression)
    (tmp_path / "a.tif").write_bytes(stream.getvalue())
    if white_is_zero:
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
            before = int(file.pages.first.tags[262].value)
            file.pages.first.tags[262].overwrite(1 - before)
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.rgb[..., 0], ink ^ white_is_zero)
    assert photo.grey


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_turns_the_colour_and_not_alpha(tmp_path, dtype):
    array = samples(2, dtype)
    photo = written(tmp_path, array, photometric="miniswhite", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(pixels(photo)[..., 0], np.iinfo(dtype).max - array[..., 0])
    np.testing.assert_array_equal(pixels(photo)[..., 1], array[..., 1])


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colours", [1, 3])
def test_associated_alpha_is_divided_out(tmp_path, dtype, colours, planar):
    white, straight = np.iinfo(dtype).max, samples(colours, dtype)
    alpha = np.maximum(samples(1, dtype), white // 2)
    stored = np.concatenate([np.rint(straight * (alpha / white)).astype(dtype), alpha], -1)
    kind = {"photometric": "rgb" if colours == 3 else "minisblack", "extrasamples": ["assocalpha"]}
    found = pixels(written(tmp_path, stored, planar=planar, **kind))
    np.testing.assert_array_equal(found[..., -1:], alpha)
    np.testing.assert_allclose(found[..., :-1], straight, atol=1)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("extras", "alpha", "lost"),
    [
        (["unspecified"], None, (EXTRA_CHANNELS,)),
        (["unspecified", "unassalpha"], 4, (EXTRA_CHANNELS,)),
        (["unassalpha", "unspecified"], 3, (EXTRA_CHANNELS,)),
        (["unspecified", "unspecified", "unassalpha"], 5, (EXTRA_CHANNELS,)),
    ],
    ids=str,
)
def test_alpha_is_the_channel_that_is_called_so(tmp_path, extras, alpha, lost, dtype, planar):
    array = samples(3 + len(extras), dtype)
    photo = written(tmp_path, array, extrasamples=extras, planar=planar)
    channels = [0, 1, 2] if alpha is None else [0, 1, 2, alpha]
    np.testing.assert_array_equal(pixels(photo), array[..., channels])
    assert photo.lost == lost


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "options", [{}, {"planar": True}, {"tile": (16, 16)}, {"rowsperstrip": 7, "compression": "lzw"}], ids=str
)
def test_black_is_zero_with_three_channels_is_refused(tmp_path, dtype, options):
    options = {"photometric": "minisblack", "extrasamples": ["unspecified"] * 2} | options
    with pytest.raises(ImageFileError, match=r"a\.tif: 3 channels without a meaning as colours; save it as 8 or 16-bi"):
        written(tmp_path, samples(3, dtype), **options)
    (tmp_path / "a.tif").write_bytes(zoo.tiff(samples(3, dtype), t262=1))  # without ExtraSamples, as scientific writers
    with pytest.raises(ImageFileError, match="3 channels without a meaning as colours"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("entry_bits", [8, 16])
def test_palettes(tmp_path, entry_bits):
    indices, table = samples(1), np.random.default_rng(1).integers(0, 256, (3, 256))
    colormap = (table * 257 if entry_bits == 16 else table).astype(np.uint16)
    photo = written(tmp_path, indices, photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(pixels(photo), np.moveaxis(table[:, indices[..., 0]], 0, -1))
    assert not photo.grey


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
def test_cmyk_of_every_layout(tmp_path, dtype, planar, alpha):
    eight = samples(4 + alpha)
    stored = eight.astype(dtype) * (257 if dtype == np.uint16 else 1)
    options = {"extrasamples": ["unassalpha"]} if alpha else {}
    photo = written(tmp_path, stored.astype(dtype), photometric="separated", planar=planar, **options)
    expected = np.asarray(Image.fromarray(eight[..., :4], "CMYK").convert("RGB"))
    np.testing.assert_array_equal(pixels(photo)[..., :3], expected)
    assert (photo.depth, photo.icc, photo.lost) == (8, None, (FROM_CMYK,))
    assert (photo.alpha is not None) == alpha
    if alpha:
        np.testing.assert_array_equal(pixels(photo)[..., 3], eight[..., 4])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint32, np.int8, np.int16, np.complex64])
def test_types_without_a_white_are_refused_by_name(tmp_path, dtype):
    with pytest.raises(
        ImageFileError, match=rf"pixels of type {dtype.__name__} have no fixed white; save it as 8 or 16-bit RGB"
    ):
        written(tmp_path, samples(3).astype(dtype))


def test_colours_and_compressions_without_support_are_named(tmp_path):
    for tag, value, message in (
        (262, 8, "its colours are CIE Lab, which have no conversion here; save it as"),
        (262, 32803, "a raw file of a camera; develop it to a TIFF or JPEG first"),
        (262, 777, "its colours are the kind 777"),
        (258, (5, 6, 5), "its samples have 5, 6, 5 bits, which is not read; save it as 8 or 16-bit RGB"),
        (258, (8, 8, 16), "its samples have 8, 8, 16 bits"),
        (259, 34661, "the TIFF compression JBIG is not supported; save it with LZW or Deflate"),
        (259, 4242, "the TIFF compression number 4242 is not supported"),
    ):
        written(tmp_path, samples(3), planar=True)
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
            file.pages.first.tags[tag].overwrite(value)
        with pytest.raises(ImageFileError, match=f"a.tif: {message}"):
            read_photo(tmp_path / "a.tif")


def test_the_photograph_is_not_its_preview(tmp_path):
    small, big = samples(3)[::2, ::2], samples(3)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:  # as DNG: the preview first, the photograph in a sub-directory
        file.write(small, photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        file.write(big, photometric="rgb", metadata=None)
    photo = read_photo(path)
    np.testing.assert_array_equal(pixels(photo), big)
    with tifffile.TiffWriter(path) as file:  # as scanners: the preview second
        file.write(big, photometric="rgb", metadata=None)
        file.write(small, photometric="rgb", subfiletype=1, metadata=None)
    assert read_photo(path).lost == photo.lost == ()
    np.testing.assert_array_equal(pixels(read_photo(path)), big)
    with tifffile.TiffWriter(path) as file:
        for array in (small, big):
            file.write(array, photometric="rgb", metadata=None)
    assert read_photo(path).lost == (FIRST_ONLY,)
    np.testing.assert_array_equal(pixels(read_photo(path)), small)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [(1, b"\6"), (2, b"6\0"), (3, "H"), (4, "L"), (6, b"\6"), (8, "h"), (9, "l"), (5, "LL"), (0, b"\6")],
)
def test_an_orientation_of_any_type_turns(order, kind, value):
    raw = value if isinstance(value, bytes) else struct.pack(order + value, *(6, 1)[: len(value)])
    count = len(raw) if isinstance(value, bytes) else 1
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    block = head + zoo.directory({274: (kind, count, raw)}, 8, order)
    expected = 1 if kind == 0 else 6
    assert read_orientation(block) == read_orientation(b"Exif\0\0" + block) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_the_tag_turns_and_xmp_does_not(tmp_path, dtype, bigtiff):
    array, xmp = samples(3, dtype), b"<x tiff:Orientation='3'/>"
    turned = written(tmp_path, array, bigtiff=bigtiff, extratags=[(274, 3, 1, 6, True), (315, 2, 0, "Ada", True)])
    np.testing.assert_array_equal(pixels(turned), np.rot90(array, -1))
    assert parse_directories(turned.exif or b"")[1][0][315] == (2, b"Ada\0")
    plain = written(tmp_path, array, bigtiff=bigtiff, extratags=[(700, 1, len(xmp), xmp, True)])
    np.testing.assert_array_equal(pixels(plain), array)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_could_pass_4_gib_is_written_as_bigtiff(tmp_path, monkeypatch, channels, dtype, order):
    array, exif = samples(channels, dtype), clean_exif(zoo.exif(order))
    white, colours = np.iinfo(dtype).max, 1 if channels < 3 else 3
    rgb = np.broadcast_to(array[..., :colours] / np.float32(white), (H, W, 3)).astype(np.float32)
    alpha = array[..., -1] / np.float32(white) if channels in (2, 4) else None
    photo = Photo(rgb, alpha, 8 * array.itemsize, colours == 1, None, exif, "x")
    write_photo(tmp_path / "small.tif", photo)
    monkeypatch.setattr(sixteen_bit, "_CLASSIC_TIFF_BYTES", sixteen_bit._MARGIN + array.nbytes - 1)
    monkeypatch.setattr(sixteen_bit, "_STRIP_BYTES", 700)
    write_photo(tmp_path / "big.tif", photo)
    heads = [(tmp_path / name).read_bytes()[2:4] for name in ("small.tif", "big.tif")]
    assert [max(head) for head in heads] == [42, 43]
    with tifffile.TiffFile(tmp_path / "big.tif") as file:
        assert (file.is_bigtiff, file.byteorder) == (True, order)
        np.testing.assert_array_equal(file.asarray().reshape(array.shape), array)
        assert file.pages.first.tags["ExifTag"].value["DateTimeOriginal"] == "2020:01:02 03:04:05"
        assert file.pages.first.tags["GPSTag"].value["GPSLatitudeRef"] == "N"
    found = read_photo(tmp_path / "big.tif")
    np.testing.assert_array_equal(pixels(found), array)
    assert found.exif == exif


def test_odd_metadata_is_not_printed(tmp_path, caplog, capfd):
    data = zoo.tiff(samples(3), t274=6)
    (tmp_path / "a.tif").write_bytes(data.replace(b"\x1a\x01", b"\x1b\x01"))
    read_photo(tmp_path / "a.tif")
    assert (caplog.records, *capfd.readouterr()) == ([], "", "")
