"""Metadata of photographs: EXIF that still holds for the turned and enlarged image, and ICC profiles that fit it.

EXIF stays in the form of raw TIFF directories (TIFF 6.0, section 2; Exif 2.32, section 4.6), because Pillow's own
rewriting turns every non-ASCII letter of an artist's name into "?" and changes the types of tags.
"""

import struct
from io import BytesIO
from typing import Literal

from PIL import Image, ImageCms

ByteOrder = Literal["<", ">"]
# One directory: tag -> (TIFF type, raw value in the byte order of its file).
Directory = dict[int, tuple[int, bytes]]

MAIN, EXIF_IFD, GPS_IFD = 0, 34665, 34853
ORIENTATION, ICC_PROFILE = 274, 34675
SHORT, LONG, UNDEFINED = 3, 4, 7
EXIF_PREFIX = b"Exif\0\0"
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
# Tags that describe the photograph. All others in the main directory describe one file: sizes, strips, thumbnail.
_MAIN_KEPT = {
    *(270, 271, 272),  # description, make, model
    *(282, 283, 296),  # resolution
    *(305, 306, 315, 316, 33432),  # software, date, artist, host, copyright
    *(18246, 18249),  # rating
    *range(40091, 40096),  # Windows title, comment, author, keywords, subject
}
# Tags that turning, enlarging or moving makes false. The maker's note points into its old file and holds a preview.
_EXIF_DROPPED = {
    *(37121, 37122),  # components, compressed bits per pixel
    *(37396, 41492),  # subject area and location, in pixels
    *(40962, 40963),  # width and height
    *(41486, 41487, 41488),  # pixels per unit of the sensor
    *(37500, 40965),  # maker's note, interoperability pointer
}


def parse_directories(tiff: bytes) -> tuple[ByteOrder, dict[int, Directory]]:
    """Read the main, Exif and GPS directories of a classic TIFF file, or of an EXIF block with or without its prefix.

    Returns the byte order ("<" or ">") and the directories by MAIN, EXIF_IFD and GPS_IFD, without values that point
    outside the data. Unreadable data gives an empty main directory, because bad metadata must not stop a photograph.
    """
    while tiff.startswith(EXIF_PREFIX):
        tiff = tiff.removeprefix(EXIF_PREFIX)
    order: ByteOrder = ">" if tiff.startswith(b"MM\0*") else "<"
    directories: dict[int, Directory] = {MAIN: {}}
    if not tiff.startswith((b"II*\0", b"MM\0*")):
        return order, directories
    try:
        directories[MAIN] = main = _parse_directory(tiff, struct.unpack_from(order + "L", tiff, 4)[0], order)
        for pointer in {EXIF_IFD, GPS_IFD} & main.keys():
            offset = struct.unpack(order + "L", main.pop(pointer)[1])[0]
            directories[pointer] = _parse_directory(tiff, offset, order)
    except struct.error:
        pass
    return order, directories


def _parse_directory(tiff: bytes, offset: int, order: ByteOrder) -> Directory:
    entries: Directory = {}
    unread = len(tiff)  # valid values do not overlap, so that their total length is at most that of the file
    for index in range(struct.unpack_from(order + "H", tiff, offset)[0]):
        at = offset + 2 + 12 * index
        tag, kind, count = struct.unpack_from(order + "HHL", tiff, at)
        size = _TYPE_BYTES.get(kind, 0) * count
        start = at + 8 if size <= 4 else struct.unpack_from(order + "L", tiff, at + 8)[0]
        unread -= size
        if size and start + size <= len(tiff) and unread >= 0:
            entries[tag] = (kind, tiff[start : start + size])
    return entries


def pack_directories(directories: dict[int, Directory], order: ByteOrder, start: int) -> bytes:
    """Pack TIFF directories, which will begin at byte `start` of a file: the main one first, then its sub-directories.

    `start` is even, and the file's header points to it. `order` is the byte order of the values, "<" or ">".
    """
    pointers = sorted(directories.keys() - {MAIN})
    main = directories[MAIN] | {pointer: (LONG, bytes(4)) for pointer in pointers}
    end = start + len(_pack_directory(main, start, order))
    blocks = b""
    for pointer in pointers:
        main[pointer] = (LONG, struct.pack(order + "L", end + len(blocks)))
        blocks += _pack_directory(directories[pointer], end + len(blocks), order)
    return _pack_directory(main, start, order) + blocks


def _pack_directory(entries: Directory, start: int, order: ByteOrder) -> bytes:
    table, heap = struct.pack(order + "H", len(entries)), b""
    heap_start = start + 2 + 12 * len(entries) + 4
    for tag, (kind, value) in sorted(entries.items()):
        field = value
        if len(value) > 4:
            field = struct.pack(order + "L", heap_start + len(heap))
            heap += value + bytes(len(value) % 2)
        table += struct.pack(order + "HHL4s", tag, kind, len(value) // _TYPE_BYTES[kind], field)
    return table + bytes(4) + heap


def tiff_header(order: ByteOrder, start: int) -> bytes:
    """Make the first eight bytes of a classic TIFF file whose main directory is at byte `start`."""
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", start)


def clean_exif(block: bytes | None) -> bytes | None:
    """Reduce an EXIF block, or a TIFF file, to the tags that hold after the photograph is turned and enlarged.

    Orientation becomes 1. Thumbnail, pixel sizes and positions, and the maker's note are removed. Returns a block that
    starts with `Exif\\0\\0`, or None if no tag remains or the data is unreadable.
    """
    order, directories = parse_directories(block or b"")
    directories[MAIN] = {tag: entry for tag, entry in directories[MAIN].items() if tag in _MAIN_KEPT}
    if EXIF_IFD in directories:
        exif = directories[EXIF_IFD]
        directories[EXIF_IFD] = {tag: entry for tag, entry in exif.items() if tag not in _EXIF_DROPPED}
    directories = {tag: entries for tag, entries in directories.items() if entries or tag == MAIN}
    if directories == {MAIN: {}}:
        return None
    directories[MAIN][ORIENTATION] = (SHORT, struct.pack(order + "H", 1))
    return EXIF_PREFIX + tiff_header(order, 8) + pack_directories(directories, order, 8)


def fits_icc(icc: bytes | None, *, grey: bool) -> bool:
    """Whether an ICC profile is for one grey channel; with grey=False, for RGB (ICC.1, header bytes 16 to 19)."""
    return icc is not None and icc[16:20] == (b"GRAY" if grey else b"RGB ")


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert a Pillow image to sRGB, mode RGB, through its ICC profile, or without it if it is missing or unusable."""
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(icc))
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            return image.convert("RGB")
        if converted is not None:
            return converted
    return image.convert("RGB")
