"""The meaning of the colours of a file without an ICC profile: PNG's own chunks, and Adobe RGB as cameras tell it.

Each meaning becomes an ICC profile, which every format that we write can hold. Colours that are sRGB need none.
"""

import re
import struct
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxsr.imaging.metadata import EXIF_IFD, INTEROPERABILITY, parse_directories
from jaxsr.imaging.sixteen_bit import png_places

HDR = "lost its HDR meaning (PQ or HLG)"
GAIN_MAP = "lost its HDR gain map"
NARROW = "lost the meaning of its levels (video range, read as full range)"
DEPTH = "lost depth beyond 8 bits a channel (HEIC and AVIF are read at 8)"
UNKNOWN = "lost the meaning of its colours, for which there is no profile"

Primaries = Sequence[float]
"""x and y of white, red, green and blue (CIE 1931), eight numbers in this order, as in PNG's cHRM."""
_D65 = (0.3127, 0.3290)
SRGB: Primaries = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE: Primaries = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_CICP_PRIMARIES: dict[int, Primaries] = {
    1: SRGB,
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.601, 625 lines
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # BT.601, 525 lines
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI-P3
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_ADOBE_GAMMA = 563 / 256
_PQ, _HLG = 16, 18


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a PNG file before its pixels, by name; of equal names the first. Damage ends the list."""
    found: dict[bytes, bytes] = {}
    for name, start, end in png_places(data):
        if name == b"IDAT" or end > len(data):
            break
        found.setdefault(name, data[start + 8 : end - 4])
    return found


def has_late_metadata(data: bytes) -> bool:
    """Return whether a PNG has EXIF or texts after its pixels, which Pillow reads only with the pixels."""
    pixels = False
    for name, _, _ in png_places(data):
        pixels = pixels or name == b"IDAT"
        if pixels and name in (b"eXIf", b"tEXt", b"iTXt", b"zTXt"):
            return True
    return False


def png_profile(data: bytes, icc: bytes | None, *, grey: bool) -> tuple[bytes | None, tuple[str, ...]]:
    """Make the profile of a PNG from cICP, else iCCP, else sRGB, else gAMA and cHRM (PNG, third edition, 4.3).

    `icc` is the profile of iCCP, which also holds where cICP has a meaning that no profile of ours has. Returns None
    for colours that are sRGB, and what no profile can say.
    """
    chunks = png_chunks(data)
    try:
        points = chunks.get(b"cICP", b"")
        if len(points) == 4 and (2 not in points[:2] or points[1] in (_PQ, _HLG)):  # 2: unspecified
            made, lost = code_points_profile(points[0], points[1], grey=grey)
            known = not lost
            lost = () if icc and UNKNOWN in lost else lost
            return made if known else icc, lost + (NARROW,) * (points[3] == 0)
        if icc:
            return icc, ()
        if b"sRGB" in chunks or not chunks.keys() & {b"gAMA", b"cHRM"}:
            return None, ()
        gamma = struct.unpack(">L", chunks[b"gAMA"])[0] / 1e5 if b"gAMA" in chunks else 1 / 2.2
        primaries = SRGB
        if b"cHRM" in chunks:
            primaries = [number / 1e5 for number in struct.unpack(">8L", chunks[b"cHRM"])]
        standard = abs(gamma - 1 / 2.2) < 0.005 and (grey or np.allclose(primaries, SRGB, atol=0.002))
        return (None if standard else make_profile(primaries, 1 / gamma, grey=grey)), ()
    except (struct.error, ZeroDivisionError, np.linalg.LinAlgError, ValueError, OverflowError):
        return icc, () if icc else (UNKNOWN,)  # broken metadata must not stop a photograph


_GIF_ICC, _GIF_XMP = b"\x21\xff\x0bICCRGBG1012", b"\x21\xff\x0bXMP DataXMP"


def gif_metadata(data: bytes) -> tuple[bytes | None, bytes | None]:
    """Return the ICC profile and the XMP packet of a GIF, which stand in its application extensions."""
    start, icc = data.find(_GIF_ICC), b""
    at = start + len(_GIF_ICC)
    while start >= 0 and at < len(data) and (size := data[at]):
        icc += data[at + 1 : at + 1 + size]
        at += 1 + size
    start = data.find(_GIF_XMP)
    end = data.find(b"\x01\xff\xfe\xfd", start)  # a trailer, which ends readers that know blocks alone
    return icc or None, data[start + len(_GIF_XMP) : end] if 0 <= start < end else None


_V5, _EMBEDDED, _LINKED, _CALIBRATED = 124, b"DEBM", b"KNIL", bytes(4)


def bmp_profile(data: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the ICC profile that a BMP embeds, and a note where it says its colours otherwise, unless they are sRGB.

    Headers of 108 bytes (version 4) and more tell the meaning of colours (Microsoft, BITMAPV5HEADER). Writers disagree
    on the endpoints and gammas of version 4, and many leave them undefined, so that no profile is made of them.
    """
    if not data.startswith(b"BM") or len(data) < 122 or struct.unpack_from("<L", data, 14)[0] < 108:
        return None, ()
    kind, long = data[70:74], struct.unpack_from("<L", data, 14)[0] >= _V5 and len(data) >= 138
    if long and kind == _EMBEDDED:
        start, size = struct.unpack_from("<LL", data, 14 + 112)
        icc = data[14 + start : 14 + start + size]
        return (icc, ()) if len(icc) == size >= 128 else (None, (UNKNOWN,))
    if kind == _LINKED:
        return None, (UNKNOWN,)
    ends = np.array(struct.unpack_from("<9l", data, 74), float).reshape(3, 3)
    gammas = np.array(struct.unpack_from("<3L", data, 110), float) / 2**16
    if kind != _CALIBRATED or not ends.any() or not gammas.any():
        return None, ()
    total = ends.sum(1, keepdims=True)
    places = (ends / np.where(total, total, 1))[:, :2].ravel()  # of XYZ and of chromaticities alike
    usual = any(np.allclose(gammas, gamma, atol=0.05) for gamma in (2.2, 1 / 2.2))
    return None, () if usual and np.allclose(places, SRGB[2:], atol=0.01) else (UNKNOWN,)


def code_points_profile(primaries: int, transfer: int, *, grey: bool) -> tuple[bytes | None, tuple[str, ...]]:
    """Make the profile of code points of ITU-T H.273: None for sRGB. Also return what no profile can say."""
    if transfer in (_PQ, _HLG):
        return None, (HDR,)
    if 2 in (primaries, transfer):  # unspecified
        return None, ()
    # Video is shown with about sRGB's curve, so that BT.709's own (1, 6, 14, 15) counts as sRGB, as in browsers.
    curves: dict[int, float | None] = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}
    if primaries not in _CICP_PRIMARIES or transfer not in curves:
        return None, (UNKNOWN,)
    if (primaries == 1 or grey) and curves[transfer] is None:
        return None, ()
    return make_profile(_CICP_PRIMARIES[primaries], curves[transfer], grey=grey), ()


# Apple's auxiliary image; an item of the type `tmap` (ISO 21496-1), whose number has 2 or 4 bytes.
_HEIF_GAIN_MAPS = re.compile(rb"hdrgainmap|infe[\2\3].{3}(?:..)?..{3}tmap", re.DOTALL)


def heif_profile(data: bytes, *, grey: bool) -> tuple[bytes | None, tuple[str, ...]]:
    """Make the profile of a HEIC or AVIF file without ICC from its code points (boxes `colr` and `pixi`, ISO 23008-12).

    Returns None for sRGB and for files that say nothing, and what is lost: HDR, a gain map, bits beyond 8.
    """
    icc, lost = None, ()
    at = data.find(b"colrnclx")
    if 0 <= at <= len(data) - 12:
        icc, lost = code_points_profile(*struct.unpack_from(">HH", data, at + 8), grey=grey)
    at = data.find(b"pixi")
    if 0 <= at < len(data) - 9 and max(data[at + 9 : at + 9 + data[at + 8]], default=8) > 8:
        lost += (DEPTH,)
    return icc, lost + (GAIN_MAP,) * bool(re.search(_HEIF_GAIN_MAPS, data))


def exif_profile(block: bytes | None, *, grey: bool) -> bytes | None:
    """Make the profile of Adobe RGB if EXIF tells it as DCF 2.0 does: interoperability index R03; else None."""
    order, directories = parse_directories(block or b"", pointers=(EXIF_IFD, INTEROPERABILITY))
    index = directories.get(INTEROPERABILITY, {}).get(1, (0, b""))[1]
    space = directories.get(EXIF_IFD, {}).get(40961, (0, b""))[1]
    if not index.startswith(b"R03") or space == struct.pack(order + "H", 1):  # 1: sRGB
        return None
    return make_profile(ADOBE, _ADOBE_GAMMA, grey=grey)


def make_profile(primaries: Primaries, gamma: float | None, *, grey: bool = False) -> bytes:
    """Make an ICC profile (version 2.1, matrix and curves; or one curve for grey) with the given primaries.

    A `gamma` of None is the curve of sRGB. Raises ValueError for a gamma or primaries that no profile can hold.
    """
    if gamma is not None and not 1 / 256 <= gamma < 256:
        raise ValueError(f"gamma is {gamma}; a profile holds 1/256 to 256")
    curve = _curve(gamma)
    tags = {
        b"desc": b"desc" + struct.pack(">4xL", 6) + b"jaxsr\0" + bytes(78),
        b"cprt": b"text\0\0\0\0CC0\0",
        b"wtpt": _xyz(_D50),
    }
    if grey:
        tags[b"kTRC"] = curve
    else:
        names = (b"rXYZ", b"gXYZ", b"bXYZ")
        tags |= {name: _xyz(column) for name, column in zip(names, _to_d50(primaries).T, strict=True)}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    body, table, places = b"", b"", dict[bytes, int]()
    start = 132 + 12 * len(tags)
    for name, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += name + struct.pack(">LL", places[content], len(content))
    head = struct.pack(">L4xL4s4s4s", start + len(body), 0x02100000, b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    head = head.ljust(68, b"\0") + _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">L", len(tags)) + table + body


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv" + struct.pack(">4xLH2x", 1, round(gamma * 256))
    x = np.linspace(0, 1, 1024)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv" + struct.pack(">4xL", len(x)) + np.rint(65535 * linear).astype(">u2").tobytes()


def _xyz(numbers: Float[np.ndarray, "3"]) -> bytes:
    return b"XYZ " + struct.pack(">4x3l", *(round(65536 * float(number)) for number in numbers))


def _to_d50(primaries: Primaries) -> Float[np.ndarray, "3 3"]:
    """Return the matrix from linear RGB (its columns) to XYZ, adapted to D50 by Bradford's transform."""
    x, y = np.array(primaries[0::2]), np.array(primaries[1::2])
    if (y <= 0).any():
        raise ValueError("primaries with y = 0")
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])  # columns: white, red, green, blue
    white, colours = xyz[:, 0], xyz[:, 1:]
    matrix = colours * np.linalg.solve(colours, white)
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.linalg.solve(_BRADFORD, gains[:, None] * (_BRADFORD @ matrix))
