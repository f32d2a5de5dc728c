"""Metadata of photographs: EXIF that still holds for the turned and enlarged image, and ICC profiles that fit it.

EXIF stays in the form of raw TIFF directories (TIFF 6.0, section 2; Exif 2.32, section 4.6), because Pillow's own
rewriting turns every non-ASCII letter of an artist's name into "?" and changes the types of tags.
"""

import struct
from collections.abc import Sequence
from io import BytesIO
from typing import Literal

from PIL import Image, ImageCms

ByteOrder = Literal["<", ">"]
# One directory: tag -> (TIFF type, raw value in the byte order of its file).
Directory = dict[int, tuple[int, bytes]]

MAIN, EXIF_IFD, GPS_IFD, INTEROPERABILITY = 0, 34665, 34853, 40965
ORIENTATION, ICC_PROFILE = 274, 34675
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
EXIF_PREFIX = b"Exif\0\0"
UNUSABLE = "lost its colour profile, which cannot be used"
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BIG_TYPE_BYTES = _TYPE_BYTES | {16: 8, 17: 8, 18: 8}
_POINTERS = (EXIF_IFD, GPS_IFD, INTEROPERABILITY)
_NUMBERS = {1: "B", 3: "H", 4: "L", 5: "LL", 6: "b", 8: "h", 9: "l", 10: "ll", 16: "Q", 17: "q"}
# Tags that describe the photograph. All others in the main directory describe one file: sizes, strips, thumbnail.
_MAIN_KEPT = {
    *(270, 271, 272),  # description, make, model
    *(282, 283, 296),  # resolution
    *(305, 306, 315, 316, 33432),  # software, date, artist, host, copyright
    *(18246, 18249),  # rating
    *range(40091, 40096),  # Windows title, comment, author, keywords, subject
}
# Of these, and of the Exif directory, what stays in the shortest record: resolution, author, copyright, dates.
_MINIMAL = {282, 283, 296, 306, 315, 33432, *(36867, 36868), *range(36880, 36883), *range(37520, 37523)}
# Tags that turning, enlarging or moving makes false. The maker's note points into its old file and holds a preview.
_EXIF_DROPPED = {
    *(37121, 37122),  # components, compressed bits per pixel
    *(37396, 41492),  # subject area and location, in pixels
    *(40962, 40963),  # width and height
    *(41486, 41487, 41488),  # pixels per unit of the sensor
    *(37500, 40965),  # maker's note, interoperability pointer
}


def parse_directories(
    tiff: bytes, pointers: Sequence[int] = (EXIF_IFD, GPS_IFD)
) -> tuple[ByteOrder, dict[int, Directory]]:
    """Read the main, Exif and GPS directories of a TIFF or BigTIFF file, or of an EXIF block, even without its prefix.

    Returns the byte order ("<" or ">") and the directories, by MAIN and by those of the `pointers` to them that occur,
    without values that point outside the data. Unreadable data gives an empty main directory, because bad metadata must
    not stop a photograph.
    """
    while tiff.startswith(EXIF_PREFIX):
        tiff = tiff.removeprefix(EXIF_PREFIX)
    order: ByteOrder = ">" if tiff.startswith(b"MM") else "<"
    directories: dict[int, Directory] = {MAIN: {}}
    if not tiff.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return order, directories
    big = b"+" in tiff[:4]
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "L"), tiff, 8 if big else 4)
        directories[MAIN] = main = _parse_directory(tiff, start, order, big=big)
        for pointer in pointers:
            holder = directories.get(EXIF_IFD, {}) if pointer == INTEROPERABILITY else main
            if pointer not in holder:
                continue
            _, value = holder.pop(pointer)
            offset = struct.unpack(order + ("L" if len(value) == 4 else "Q"), value)[0]
            directories[pointer] = _parse_directory(tiff, offset, order, big=big)
    except (struct.error, OverflowError):
        pass
    return order, directories


def _parse_directory(tiff: bytes, offset: int, order: ByteOrder, *, big: bool) -> Directory:
    """Read a directory, without values of the types that only BigTIFF has."""
    entries: Directory = {}
    unread = len(tiff)  # valid values do not overlap, so that their total length is at most that of the file
    counter, entry, word, room = ("Q", "HHQ", "Q", 8) if big else ("H", "HHL", "L", 4)
    head, step = struct.calcsize(order + counter), struct.calcsize(order + entry) + room
    for index in range(struct.unpack_from(order + counter, tiff, offset)[0]):
        at = offset + head + step * index
        tag, kind, count = struct.unpack_from(order + entry, tiff, at)
        size = _BIG_TYPE_BYTES.get(kind, 0) * count
        at += step - room
        start = at if size <= room else struct.unpack_from(order + word, tiff, at)[0]
        unread -= size
        wanted = kind in _TYPE_BYTES or tag in (ORIENTATION, *_POINTERS)
        if size and start + size <= len(tiff) and unread >= 0 and wanted:
            entries[tag] = (kind, tiff[start : start + size])
    return entries


def read_orientation(tiff: bytes | None) -> int:
    """Return the orientation, 1 to 8, in an EXIF block or TIFF file; 1 if there is none.

    Exif wants a SHORT. Writers have used all types of numbers, and text. XMP is not asked: most programs do not.
    """
    order, directories = parse_directories(tiff or b"")
    kind, value = directories[MAIN].get(ORIENTATION, (SHORT, b""))
    try:
        if kind == ASCII:
            number = int(value.rstrip(b"\0 "))
        else:
            number, *divisor = struct.unpack_from(order + _NUMBERS[kind], value)
            number = number // divisor[0] if divisor else number
    except (ValueError, KeyError, ZeroDivisionError, struct.error):
        return 1
    return number if 1 <= number <= 8 else 1


def pack_directories(directories: dict[int, Directory], order: ByteOrder, start: int, *, big: bool = False) -> bytes:
    """Pack TIFF directories, which will begin at byte `start` of a file: the main one first, then its sub-directories.

    `start` is even, and the file's header points to it. `order` is the byte order of the values, "<" or ">". `big`
    packs them for BigTIFF.
    """
    pointers = sorted(directories.keys() - {MAIN})
    kind, letter = (LONG8, "Q") if big else (LONG, "L")
    main = directories[MAIN] | {pointer: (kind, bytes(struct.calcsize(f"={letter}"))) for pointer in pointers}
    end = start + len(_pack_directory(main, start, order, big=big))
    blocks = b""
    for pointer in pointers:
        main[pointer] = (kind, struct.pack(order + letter, end + len(blocks)))
        blocks += _pack_directory(directories[pointer], end + len(blocks), order, big=big)
    return _pack_directory(main, start, order, big=big) + blocks


def _pack_directory(entries: Directory, start: int, order: ByteOrder, *, big: bool) -> bytes:
    counter, entry, word, room = ("Q", "HHQ8s", "Q", 8) if big else ("H", "HHL4s", "L", 4)
    table, heap = struct.pack(order + counter, len(entries)), b""
    heap_start = start + len(table) + struct.calcsize(order + entry) * len(entries) + room
    for tag, (kind, value) in sorted(entries.items()):
        field = value
        if len(value) > room:
            field = struct.pack(order + word, heap_start + len(heap))
            heap += value + bytes(len(value) % 2)
        table += struct.pack(order + entry, tag, kind, len(value) // _BIG_TYPE_BYTES[kind], field)
    return table + bytes(room) + heap


def tiff_header(order: ByteOrder, start: int, *, big: bool = False) -> bytes:
    """Make the header of a TIFF file, 8 bytes, or of a BigTIFF file, 16, whose main directory is at byte `start`."""
    letters = b"II" if order == "<" else b"MM"
    if big:
        return letters + struct.pack(order + "HHHQ", 43, 8, 0, start)
    return letters + struct.pack(order + "HL", 42, start)


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
    return _exif_block(order, directories)


def minimal_exif(block: bytes | None) -> bytes | None:
    """Reduce an EXIF block to resolution, author, copyright and dates. Returns None if none of these is there."""
    order, directories = parse_directories(block or b"", pointers=(EXIF_IFD,))
    kept = {tag: {t: e for t, e in entries.items() if t in _MINIMAL} for tag, entries in directories.items()}
    return _exif_block(order, kept)


def _exif_block(order: ByteOrder, directories: dict[int, Directory]) -> bytes | None:
    directories = {tag: entries for tag, entries in directories.items() if entries or tag == MAIN}
    if directories == {MAIN: {}}:
        return None
    directories[MAIN] = directories[MAIN] | {ORIENTATION: (SHORT, struct.pack(order + "H", 1))}
    return EXIF_PREFIX + tiff_header(order, 8) + pack_directories(directories, order, 8)


def fits_icc(icc: bytes | None, *, grey: bool) -> bool:
    """Whether an ICC profile is for one grey channel; with grey=False, for RGB (ICC.1, header bytes 16 to 19)."""
    return icc is not None and icc[16:20] == (b"GRAY" if grey else b"RGB ")


def to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert a Pillow image to sRGB, mode RGB, through its ICC profile, or without it if it is missing or unusable.

    Returns what is lost with an unusable profile, too.
    """
    if not icc:
        return image.convert("RGB"), ()
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        converted = None
    return (image.convert("RGB"), (UNUSABLE,)) if converted is None else (converted, ())
