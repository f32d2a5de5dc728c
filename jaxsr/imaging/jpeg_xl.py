"""The size and depth of a JPEG XL picture, read from its first bytes, as no library at hand gives them.

ISO/IEC 18181-1, SizeHeader and ImageMetadata; the boxes of the container are those of part 2.
"""

from collections.abc import Sequence

_HEADER = 64
"""Bytes that are enough for the size and the depth."""
HEADS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
# How numbers are coded (U32): for each of four cases a constant, and the bits that are added to it.
_SIDES = ((1, 9), (1, 13), (1, 18), (1, 30))
_DEPTHS = ((8, 0), (10, 0), (12, 0), (1, 6))
_PREVIEW_EIGHTHS, _PREVIEW_SIDES = ((16, 0), (32, 0), (1, 5), (33, 9)), ((1, 6), (65, 8), (321, 10), (1345, 12))
_ANIMATION = (
    ((100, 0), (1000, 0), (1, 10), (1, 30)),  # ticks per second, above and below the line
    ((1, 0), (1001, 0), (1, 8), (1, 10)),
    ((0, 0), (0, 3), (0, 16), (0, 32)),  # loops
)


class _Bits:
    """Bits of a byte string, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("cut short")
        value, self._number, self._left = self._number & ((1 << count) - 1), self._number >> count, self._left - count
        return value

    def number(self, cases: Sequence[tuple[int, int]]) -> int:
        least, count = cases[self.take(2)]
        return least + self.take(count)


def jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of a JPEG XL file before its orientation. Raises ValueError for a damaged one."""
    return _size(_Bits(_codestream(data)[2:]))


def jpeg_xl_depth(data: bytes) -> int:
    """Return the bits per sample of a JPEG XL file. Raises ValueError for a damaged one."""
    bits = _Bits(_codestream(data)[2:])
    _size(bits)
    if bits.take(1):  # all as usual
        return 8
    if bits.take(1):  # more than the depth
        bits.take(3)  # orientation
        if bits.take(1):
            _size(bits)  # that of the screen
        if bits.take(1):
            _skip_preview(bits)
        if bits.take(1):
            for cases in _ANIMATION:
                bits.number(cases)
            bits.take(1)
    return 32 if bits.take(1) else bits.number(_DEPTHS)  # floating point, whose pixels the reader refuses


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return _side(bits, small), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _skip_preview(bits: _Bits) -> None:
    cases = _PREVIEW_EIGHTHS if bits.take(1) else _PREVIEW_SIDES
    bits.number(cases)
    if bits.take(3) == 0:
        bits.number(cases)


def _side(bits: _Bits, small: int) -> int:
    return 8 * (bits.take(5) + 1) if small else bits.number(_SIDES)


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which may lie in boxes."""
    if data.startswith(HEADS[0]):
        return data[:_HEADER]
    at = 0
    while at + 8 <= len(data):
        size, kind, start = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8]), start + 8
        start += 4 * (kind == b"jxlp")  # the number of the part
        if kind in (b"jxlc", b"jxlp"):
            return data[start : start + _HEADER]
        if size < start - at:
            break
        at += size
    raise ValueError("no image in its container")
