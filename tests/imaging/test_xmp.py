"""Test that XMP, resolution and the chosen amount of metadata reach the result, true of its pixels."""

import dataclasses
import struct
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from jaxsr.imaging.colour import SRGB, make_profile
from jaxsr.imaging.decode import EXTENDED_XMP_LOST, XMP_LOST
from jaxsr.imaging.files import read_photo, with_metadata, write_photo
from jaxsr.imaging.tiff import TEXTS
from jaxsr.imaging.xmp import clean_xmp
from tests.imaging import image_zoo as zoo

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
RDF_SPACE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF_SPACE}">
<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
 tiff:Orientation="6" xmp:Rating="4" crs:HasCrop="True">
<tiff:ImageWidth>8</tiff:ImageWidth>
<dc:subject><rdf:Bag><rdf:li>harbour</rdf:li><rdf:li>Jörg</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()
SOURCES = [".jpg", ".png", ".webp", ".tif"]


def saved(path, **options):
    if path.suffix == ".png" and "xmp" in options:
        chunk = (b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + options["xmp"])
        path.write_bytes(zoo.png(PIXELS, chunks=(chunk,)))
    elif path.suffix == ".tif" and "xmp" in options:
        xmp = options["xmp"]
        tifffile.imwrite(path, PIXELS, photometric="rgb", metadata=None, extratags=[(700, 1, len(xmp), xmp, True)])
    else:
        Image.fromarray(PIXELS).save(path, **options)
    return path


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("target", "depth"), [(".jpg", 8), (".png", 8), (".png", 16), (".webp", 8), (".tif", 8)])
def test_xmp_is_kept_without_what_became_false(tmp_path, source, target, depth):
    photo = read_photo(saved(tmp_path / f"a{source}", xmp=PACKET))
    write_photo(tmp_path / f"b{target}", dataclasses.replace(photo, depth=depth))
    data = (tmp_path / f"b{target}").read_bytes()
    for word in ("harbour", "Jörg", 'Rating="4"'):
        assert word.encode() in data
    for word in (b"Orientation=", b"ImageWidth", b"HasCrop"):
        assert word not in data
    with Image.open(tmp_path / f"b{target}") as image:  # an independent reader
        packet = image.info.get("xmp", image.info.get("XML:com.adobe.xmp"))
    words = [word.text for word in ElementTree.fromstring(packet).iter(f"{{{RDF_SPACE}}}li")]
    assert words == ["harbour", "Jörg"]
    assert read_photo(tmp_path / f"b{target}").xmp == photo.xmp == clean_xmp(photo.xmp)


@pytest.mark.parametrize(
    "packet", [b"<x", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"\xff\xfe\0\0", b"plain words"]
)
def test_xmp_that_cannot_be_read_is_noted(tmp_path, packet):
    photo = read_photo(saved(tmp_path / "a.jpg", xmp=packet))
    assert (photo.xmp, photo.lost) == (None, (XMP_LOST,))


def test_xmp_without_anything_that_holds_is_none():
    only = PACKET.replace(b'xmp:Rating="4"', b"").replace(b"dc:subject", b"tiff:ImageLength")
    assert clean_xmp(only) is clean_xmp(b"") is clean_xmp(None) is None


@pytest.mark.parametrize(("suffix", "depth"), [(".jpg", 8), (".png", 8), (".png", 16), (".tif", 8), (".tif", 16)])
def test_pixels_per_inch_are_kept(tmp_path, suffix, depth):
    for source in (".jpg", ".png", ".tif"):
        photo = read_photo(saved(tmp_path / f"a{source}", dpi=(300, 150)))
        write_photo(tmp_path / f"b{suffix}", dataclasses.replace(photo, depth=depth))
        with Image.open(tmp_path / f"b{suffix}") as image:
            np.testing.assert_allclose([float(n) for n in image.info["dpi"]], (300, 150), rtol=1e-3)
    assert read_photo(saved(tmp_path / "c.jpg", exif=zoo.exif())).dpi is None  # Pillow would say 72


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [((100, 50), "centimeter", (254, 127)), ((300, 300), "none", None), ((0, 300), "inch", None), (None, None, None)],
)
def test_pixels_per_inch_of_tiff(tmp_path, resolution, unit, expected):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", resolution=resolution, resolutionunit=unit)
    found = read_photo(tmp_path / "a.tif").dpi
    assert found == (None if expected is None else pytest.approx(expected))


def test_extended_xmp_is_noted(tmp_path):
    data = saved(tmp_path / "a.jpg", xmp=PACKET).read_bytes()
    part = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<rdf/>"
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + data[2:])
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.lost == (EXTENDED_XMP_LOST,)
    assert photo.xmp is not None


def test_what_is_left_out_is_noted(tmp_path):
    assert read_photo(saved(tmp_path / "a.jpg", comment=b"hello")).lost == (TEXTS,)
    iptc = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">L", 8) + b"\x1c\x02\x05\0\x03abc"
    data = saved(tmp_path / "b.jpg").read_bytes()
    segment = b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc
    (tmp_path / "b.jpg").write_bytes(data[:2] + segment + data[2:])
    assert read_photo(tmp_path / "b.jpg").lost == (TEXTS,)
    (tmp_path / "c.png").write_bytes(zoo.png(PIXELS, chunks=((b"tEXt", b"Comment\0hello"),)))
    assert read_photo(tmp_path / "c.png").lost == (TEXTS,)
    assert read_photo(saved(tmp_path / "d.jpg")).lost == read_photo(saved(tmp_path / "d.png")).lost == ()


@pytest.mark.parametrize("suffix", SOURCES)
@pytest.mark.parametrize("level", ["keep", "minimal", "strip"])
def test_as_much_metadata_as_was_asked_for(tmp_path, level, suffix):
    icc = make_profile(SRGB, 2.0)
    saved(tmp_path / "a.jpg", xmp=PACKET, exif=zoo.exif(), icc_profile=icc, dpi=(300, 300))
    write_photo(tmp_path / f"b{suffix}", with_metadata(read_photo(tmp_path / "a.jpg"), level))
    found = read_photo(tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as image:
        exif = image.getexif()
        gps, inner = (exif.get_ifd(ifd) for ifd in (ExifTags.IFD.GPSInfo, ExifTags.IFD.Exif))
    artist, date = exif.get(ExifTags.Base.Artist), inner.get(ExifTags.Base.DateTimeOriginal)
    assert (bool(artist), bool(date)) == (level != "strip",) * 2
    assert (bool(gps), bool(exif.get(ExifTags.Base.Make)), bool(found.xmp)) == (level == "keep",) * 3
    assert found.icc == icc
    if suffix in (".jpg", ".png"):
        assert (found.dpi is not None) == (level != "strip")
