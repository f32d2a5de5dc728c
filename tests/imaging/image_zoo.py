"""Make image files by hand from the specifications with struct and zlib, as oracles that use no image library."""

import struct
import zlib

import numpy as np

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


def _png_rows(raw: np.ndarray, step: int, kind: int) -> bytes:
    """Filter rows of bytes (PNG, section 9): 0 none, 1 left, 2 up, 3 average, 4 Paeth."""
    pixel = raw.astype(int)
    left, up, corner = np.zeros_like(pixel), np.zeros_like(pixel), np.zeros_like(pixel)
    left[:, step:], up[1:], corner[1:, step:] = pixel[:, :-step], pixel[:-1], pixel[:-1, :-step]
    base = left + up - corner
    to_left, to_up, to_corner = abs(base - left), abs(base - up), abs(base - corner)
    paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
    guess = (np.zeros_like(pixel), left, up, (left + up) // 2, paeth)[kind]
    return b"".join(bytes([kind]) + row.tobytes() for row in ((pixel - guess) % 256).astype(np.uint8))


def png(
    pixels: np.ndarray, kind: int = 0, *, interlaced: bool = False, chunks: tuple[tuple[bytes, bytes], ...] = ()
) -> bytes:
    """Return an 8- or 16-bit PNG of (h, w, 1..4) pixels, with further chunks before the pixels."""
    height, width, channels = pixels.shape
    big_endian = pixels.astype(f">u{pixels.itemsize}")
    parts = [big_endian[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [big_endian]
    rows = b"".join(
        _png_rows(np.frombuffer(part.tobytes(), np.uint8).reshape(len(part), -1), channels * pixels.itemsize, kind)
        for part in parts
        if part.size
    )
    return png_file(width, height, 8 * pixels.itemsize, (0, 4, 2, 6)[channels - 1], rows, chunks, interlaced)


def png_file(width, height, bits, colour, rows, chunks=(), interlaced=False) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    middle = b"".join(_chunk(name, content) for name, content in chunks)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + middle
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def directory(entries: dict[int, tuple[int, int, bytes]], start: int, order: str, following: int = 0) -> bytes:
    """Return a TIFF directory at byte `start`; entries are tag -> (type, count, raw value)."""
    table, heap = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, count, value) in sorted(entries.items()):
        at = start + 6 + 12 * len(entries) + len(heap)
        if len(value) > 4:
            heap, value = heap + value + bytes(len(value) % 2), struct.pack(order + "L", at)
        table += struct.pack(order + "HHL4s", tag, kind, count, value)
    return table + struct.pack(order + "L", following) + heap


def tiff(pixels: np.ndarray, order: str = "<", *, planar: bool = False, **tags: int) -> bytes:
    """Return an uncompressed one-strip TIFF of (h, w, 1..4) pixels; give further SHORT tags as t274=6."""
    height, width, channels = pixels.shape
    samples = np.moveaxis(pixels, -1, 0) if planar else pixels
    strip = samples.astype(f"{order}u{pixels.itemsize}").tobytes()
    planes = channels if planar else 1

    def numbers(letter: str, *values: int) -> tuple[int, int, bytes]:
        return {"H": 3, "L": 4}[letter], len(values), struct.pack(f"{order}{len(values)}{letter}", *values)

    size = len(strip) // planes
    entries = {
        256: numbers("L", width),
        257: numbers("L", height),
        258: numbers("H", *[8 * pixels.itemsize] * channels),
        259: numbers("H", 1),
        262: numbers("H", 2 if channels > 2 else 1),
        273: numbers("L", *[8 + size * plane for plane in range(planes)]),
        277: numbers("H", channels),
        278: numbers("L", height),
        279: numbers("L", *[size] * planes),
        284: numbers("H", 2 if planar else 1),
    }
    entries |= {338: numbers("H", 2)} if channels in (2, 4) else {}
    entries |= {int(tag[1:]): numbers("H", value) for tag, value in tags.items()}
    strip += bytes(len(strip) % 2)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8 + len(strip))
    return head + strip + directory(entries, 8 + len(strip), order)


def exif(order: str = "<", orientation: int = 6) -> bytes:
    """Return EXIF as a camera writes it: make, UTF-8 artist, orientation, Exif, GPS and thumbnail directories."""
    short = struct.Struct(order + "H").pack
    long = struct.Struct(order + "L").pack
    artist = "Jörg Ångström\0".encode()
    thumbnail = b"\xff\xd8THUMBNAIL\xff\xd9"
    inner = {
        36867: (2, 20, b"2020:01:02 03:04:05\0"),
        37380: (10, 1, struct.pack(order + "ll", 1, 3)),
        37500: (7, 10, b"MAKER NOTE"),
        37510: (7, 12, b"ASCII\0\0\0note"),
        40962: (4, 1, long(4000)),
        40963: (4, 1, long(3000)),
    }
    gps = {1: (2, 2, b"N\0"), 2: (5, 3, struct.pack(order + "6L", 48, 1, 30, 1, 0, 1))}
    main = {
        256: (4, 1, long(4000)),
        271: (2, 7, b"Camera\0"),
        274: (3, 1, short(orientation)),
        315: (2, len(artist), artist),
        34665: (4, 1, long(0)),
        34853: (4, 1, long(0)),
    }
    inner_at = 8 + len(directory(main, 8, order))
    gps_at = inner_at + len(directory(inner, inner_at, order))
    small_at = gps_at + len(directory(gps, gps_at, order))
    small = {259: (3, 1, short(6)), 513: (4, 1, long(0)), 514: (4, 1, long(len(thumbnail)))}
    small[513] = (4, 1, long(small_at + len(directory(small, small_at, order))))
    main |= {34665: (4, 1, long(inner_at)), 34853: (4, 1, long(gps_at))}
    blocks = directory(main, 8, order, small_at) + directory(inner, inner_at, order) + directory(gps, gps_at, order)
    head = (b"II*\0" if order == "<" else b"MM\0*") + long(8)
    return b"Exif\0\0" + head + blocks + directory(small, small_at, order) + thumbnail


def icc(space: bytes) -> bytes:
    """Return an ICC v2 profile: b"GRAY" is linear light; b"CMYK" prints cyan as grey of L*=50.2."""
    d50 = struct.pack(">lll", 63190, 65536, 54061)
    tags = {
        b"wtpt": b"XYZ \0\0\0\0" + d50,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"desc": b"desc" + bytes(4) + b"\0\0\0\2x\0" + bytes(78),
    }
    if space == b"GRAY":
        tags[b"kTRC"] = b"curv" + bytes(8)
    else:
        ramp = bytes(range(256))
        unit = struct.pack(">9l", *(65536 if index % 4 == 0 else 0 for index in range(9)))
        black = bytes([0, 128, 128])
        paper = bytes([255, 128, 128]) + black * 7 + bytes([128, 128, 128]) + black * 7
        tags[b"A2B0"] = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + 4 * ramp + paper + 3 * ramp
    start, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">LL", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    kind, pcs = (b"mntr", b"XYZ ") if space == b"GRAY" else (b"prtr", b"Lab ")
    head = struct.pack(">L4sL4s4s4s", start + len(body), bytes(4), 0x02400000, kind, space, pcs)
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp")
    head = head.ljust(68, b"\0") + d50
    return head.ljust(128, b"\0") + struct.pack(">L", len(tags)) + table + body
