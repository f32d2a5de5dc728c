"""Views: pictures as a browser shows them, in 8 bits, as tiles of several sizes, so that pictures of any size zoom."""

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num, UInt8
from PIL import Image

from jaxsr.imaging.metadata import fits_icc

TILE = 512
"""Side of the tiles in pixels."""
_BAND = 256  # rows that are converted at once; even, so that halving never splits a pair of rows
_STEPS = 8  # grey levels of the map per grey level of standard deviation


@dataclass(frozen=True)
class View:
    """A picture in the folder `folder`, as levels: level 0 in full size, and each next one half as large.

    Attributes:
        folder: holds one array of (h, w, c) bytes for each level, and the ICC profile.
        width, height: size of level 0.
        levels: number of levels. The last one fits into a tile.
    """

    folder: Path
    width: int
    height: int
    levels: int

    def describe(self) -> dict[str, int]:
        """Describe the view as plain JSON."""
        return {"width": self.width, "height": self.height, "levels": self.levels, "tile": TILE}

    def pixels(self, level: int = 0) -> UInt8[np.ndarray, "h w c"]:
        """Return a level, whose bytes are read from the disk where they are used."""
        return np.load(self.folder / f"{level}.npy", mmap_mode="r")

    def tile(self, level: int, row: int, column: int) -> bytes | None:
        """Encode one tile as PNG, with the profile of the picture; None if there is no such tile."""
        if not (0 <= level < self.levels and row >= 0 and column >= 0):
            return None
        part = self.pixels(level)[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        return encode_png(part, self.profile()) if part.size else None

    def profile(self) -> bytes | None:
        """Return the ICC profile of the picture; None for sRGB."""
        file = self.folder / "icc"
        return file.read_bytes() if file.exists() else None


def encode_png(pixels: UInt8[np.ndarray, "h w c"], icc: bytes | None = None) -> bytes:
    """Encode grey or RGB pixels as PNG, quickly rather than small."""
    stream = BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    profile = {"icc_profile": icc} if fits_icc(icc, grey=pixels.shape[2] == 1) else {}
    image.save(stream, "PNG", compress_level=1, **profile)
    return stream.getvalue()


def make_view(folder: Path, pixels: Num[np.ndarray, "h w c"], icc: bytes | None = None) -> View:
    """Write the levels of a picture.

    Args:
        folder: a new folder for them.
        pixels: grey, grey+alpha, RGB or RGBA; uint8, uint16, or float in [0, 1]. Transparent pixels show on white.
        icc: profile of the colours, or None for sRGB.
    """
    folder.mkdir(parents=True)
    height, width, channels = pixels.shape
    colours = 3 if channels > 2 else 1
    levels = 1 + max(math.ceil(math.log2(max(height, width) / TILE)), 0)
    if icc:
        (folder / "icc").write_bytes(icc)
    whole = np.lib.format.open_memmap(folder / "0.npy", "w+", np.uint8, (height, width, colours))
    for top in range(0, height, _BAND):
        whole[top : top + _BAND] = _to_bytes(pixels[top : top + _BAND], colours)
    for level in range(1, levels):
        finer = whole
        size = (-(-finer.shape[0] // 2), -(-finer.shape[1] // 2), colours)
        whole = np.lib.format.open_memmap(folder / f"{level}.npy", "w+", np.uint8, size)
        for top in range(0, finer.shape[0], _BAND):
            whole[top // 2 : (top + _BAND) // 2] = _halved(finer[top : top + _BAND])
    whole.flush()
    return View(folder, width, height, levels)


def disagreement(folder: Path, views: list[View]) -> tuple[View, float]:
    """Make the map of the standard deviation over some samples of one photograph, and its mean over all pixels.

    The standard deviation of every channel is divided by N, the number of samples, and averaged over the channels. The
    map is grey: black where all samples agree, and 8 levels brighter for every grey level of disagreement, so that it
    is white from 32 on. The mean is in grey levels of 0 to 255.
    """
    samples = [view.pixels() for view in views]
    height, width, _ = samples[0].shape
    grey, total = np.empty((height, width, 1), np.uint8), 0.0
    for top in range(0, height, _BAND):
        rows = np.stack([sample[top : top + _BAND] for sample in samples]).astype(np.float32)
        spread = rows.std(axis=0).mean(axis=-1)
        total += float(spread.sum(dtype=np.float64))
        grey[top : top + _BAND, :, 0] = np.rint(np.clip(_STEPS * spread, 0, 255))
    return make_view(folder, grey), total / (height * width)


def colour_drift(result: View, photo: View) -> float:
    """Return the largest difference of a channel's mean between a result and its photograph, in levels of 0 to 255."""
    first, second = (np.mean(view.pixels(), axis=(0, 1), dtype=np.float64) for view in (result, photo))
    return float(np.abs(first - second).max())


def _to_bytes(pixels: Num[np.ndarray, "h w c"], colours: int) -> UInt8[np.ndarray, "h w d"]:
    if pixels.dtype == np.uint8 and pixels.shape[2] == colours:
        return pixels
    floating = np.issubdtype(pixels.dtype, np.floating)
    values: Float[np.ndarray, "h w c"] = pixels.astype(np.float32)
    values = values if floating else values / np.float32(np.iinfo(pixels.dtype).max)
    colour = values[..., :colours]
    if pixels.shape[2] > colours:
        colour = 1 - values[..., -1:] * (1 - colour)
    return np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)


def _halved(rows: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "p q c"]:
    """Halve both sides by averages of 2x2 pixels; a last odd row or column stands for two."""
    odd = ((0, rows.shape[0] % 2), (0, rows.shape[1] % 2), (0, 0))
    even = np.pad(rows, odd, mode="edge") if any(after for _, after in odd) else rows
    sums = even[::2, ::2].astype(np.uint16) + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((sums + 2) // 4).astype(np.uint8)
