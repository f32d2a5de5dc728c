"""Test the record of a result inside of its file: every format, beside other XMP, and where there is no room."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from jaxsr.imaging.files import read_photo, with_metadata, write_photo
from jaxsr.imaging.pixels import ImageFileError
from jaxsr.imaging.record import read_record
from jaxsr.imaging.xmp import add_record, clean_xmp, find_record
from tests.imaging.test_xmp import PACKET, PIXELS, SOURCES, saved

RECORD = '{"input":"J\\u00f6rg <&>\\"\'.png","seed":7}'


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", SOURCES)
@pytest.mark.parametrize("grey", [False, True])
def test_every_format_carries_it(tmp_path, suffix, depth, grey):
    photo = dataclasses.replace(read_photo(saved(tmp_path / "a.png")), depth=depth, record=RECORD, grey=grey)
    write_photo(tmp_path / f"b{suffix}", photo)
    assert read_record(tmp_path / f"b{suffix}") == RECORD
    again = read_photo(tmp_path / f"b{suffix}")
    assert (again.record, again.xmp, again.lost) == (None, None, ())
    write_photo(tmp_path / f"c{suffix}", dataclasses.replace(photo, record=None))
    assert read_record(tmp_path / f"c{suffix}") is None


@pytest.mark.parametrize("suffix", SOURCES)
def test_other_xmp_stays_beside_it(tmp_path, suffix):
    photo = dataclasses.replace(read_photo(saved(tmp_path / "a.jpg", xmp=PACKET)), record=RECORD)
    write_photo(tmp_path / f"b{suffix}", photo)
    assert read_record(tmp_path / f"b{suffix}") == RECORD
    assert read_photo(tmp_path / f"b{suffix}").xmp == photo.xmp


def test_a_later_record_replaces_an_earlier_one():
    packet = add_record(clean_xmp(add_record(clean_xmp(PACKET), "old")), RECORD)
    assert find_record(packet) == RECORD
    assert b"old" not in packet
    assert clean_xmp(packet) == clean_xmp(PACKET)
    assert find_record(PACKET) is clean_xmp(add_record(None, RECORD)) is None


@pytest.mark.parametrize("level", ["minimal", "strip"])
def test_less_metadata_has_none(tmp_path, level):
    photo = dataclasses.replace(read_photo(saved(tmp_path / "a.jpg")), record=RECORD)
    assert with_metadata(photo, level).record is None
    assert with_metadata(photo, "keep").record == RECORD


def test_a_jpeg_without_room_for_it_keeps_the_photographs_own_xmp(tmp_path):
    photo = dataclasses.replace(read_photo(saved(tmp_path / "a.jpg", xmp=PACKET)), record="x" * 70000)
    write_photo(tmp_path / "b.jpg", photo)
    assert read_record(tmp_path / "b.jpg") is None
    assert read_photo(tmp_path / "b.jpg").xmp == photo.xmp
    write_photo(tmp_path / "b.tif", photo)
    assert read_record(tmp_path / "b.tif") == photo.record


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("a.png", "none.png"):
        with pytest.raises(ImageFileError, match=f"{name}: no"):
            read_record(tmp_path / name)


def test_pixels_are_the_same_with_and_without(tmp_path):
    photo = read_photo(saved(tmp_path / "a.png"))
    write_photo(tmp_path / "b.png", dataclasses.replace(photo, record=RECORD))
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), PIXELS)
