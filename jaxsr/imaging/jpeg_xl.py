"""The size of a JPEG XL picture, read from its first bytes, as no library at hand gives it without the pixels.

ISO/IEC 18181-1, SizeHeader; the boxes of the container are those of part 2.
"""

HEADS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_BITS = (9, 13, 18, 30)


class _Bits:
    """Bits of a byte string, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("cut short")
        value, self._number, self._left = self._number & ((1 << count) - 1), self._number >> count, self._left - count
        return value


def jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of a JPEG XL file before its orientation. Raises ValueError for a damaged one."""
    bits = _Bits(_codestream(data)[2:16])
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return _side(bits, small), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _side(bits: _Bits, small: int) -> int:
    return 8 * (bits.take(5) + 1) if small else bits.take(_BITS[bits.take(2)]) + 1


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which may lie in boxes."""
    if data.startswith(HEADS[0]):
        return data[:16]
    at = 0
    while at + 8 <= len(data):
        size, kind, start = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8]), start + 8
        start += 4 * (kind == b"jxlp")  # the number of the part
        if kind in (b"jxlc", b"jxlp"):
            return data[start : start + 16]
        if size < start - at:
            break
        at += size
    raise ValueError("no image in its container")
