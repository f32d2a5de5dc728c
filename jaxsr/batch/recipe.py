"""The decoded files that guide the images of one command: alpha map, reference, mask."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from jaxsr.batch.request import Request
from jaxsr.guidance.guide import Guide, make_guide
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.pixels import ImageFileError, from_float


@dataclass(frozen=True, eq=False)
class Recipe:
    """The decoded guide files of a command, read once for all its images.

    Attributes:
        alpha_map, mask: grey values in [0, 1], or None.
        reference: RGB in the depth of its file, or None.
    """

    alpha_map: Float[np.ndarray, "h w"] | None = None
    reference: UInt8[np.ndarray, "H W 3"] | UInt16[np.ndarray, "H W 3"] | None = None
    mask: Float[np.ndarray, "p q"] | None = None

    def guide(self, request: Request, rgb: Float[np.ndarray, "h w 3"], scale: int) -> Guide:
        """Make the guide of the image `rgb` for a request. Raises ValueError if a guide file does not fit the image."""
        factors = self.alpha_map
        if factors is not None and request.crop is not None:
            x, y, width, height = request.crop
            factors = factors[y : y + height, x : x + width]
        parts: dict[str, Any] = {"alpha_map": factors, "reference": self.reference, "mask": self.mask}
        choices = {name: getattr(request, name) for name in ("feather", "objective", "strip")}
        return make_guide(rgb, scale, **parts, box=request.reference_box, **choices)


def read_recipe(
    *, alpha_map: Path | None = None, reference: Path | None = None, reference_mask: Path | None = None
) -> Recipe:
    """Read and decode the guide files.

    Raises:
        ImageFileError: if a file cannot be read.
    """
    return Recipe(
        alpha_map=None if alpha_map is None else _read_grey(alpha_map),
        reference=None if reference is None else _read_pixels(reference),
        mask=None if reference_mask is None else _read_grey(reference_mask),
    )


def read_mask(request: Request) -> Float[np.ndarray, "h w"] | None:
    """Read the inpainting mask of a request, grey in [0, 1]; None without one. Raises ImageFileError."""
    return None if request.mask is None else _read_grey(request.mask.path)


def _read_grey(path: Path) -> Float[np.ndarray, "h w"]:
    """Read a map: its grey values, or its transparency where that alone has a picture, as paint programs write masks.

    Raises ImageFileError where both have one, because either could be meant.
    """
    photo = read_photo(path)
    grey = photo.rgb.mean(-1)
    if photo.alpha is None or np.ptp(photo.alpha) == 0:
        return grey
    if np.ptp(grey[photo.alpha > 0]) > 0:
        raise ImageFileError(f"{path}: has grey values and transparency; save the map in grey, without transparency")
    return photo.alpha


def _read_pixels(path: Path) -> UInt8[np.ndarray, "H W 3"] | UInt16[np.ndarray, "H W 3"]:
    """Read RGB pixels in the depth of their file, because they stay in memory for the whole command."""
    photo = read_photo(path)
    if photo.alpha is not None and photo.alpha.min() < 1:
        raise ImageFileError(
            f"{path}: is transparent in parts, whose colours would count; save it without transparency, and give "
            "--reference-mask for the part that counts"
        )
    return from_float(photo.rgb, np.uint16 if photo.depth == 16 else np.uint8)
