"""Inpainting: the mask that an inpainting network takes as a fourth channel of its input, and the known pixels.

The mask is 1 where content is unknown and 0 where it is known; numbers between mix. It travels with the image through
its tiles. The result keeps the known pixels: network * m + image * (1 - m).
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Num

from jaxsr.guidance.guide import as_map
from jaxsr.imaging.pixels import as_array, from_float
from jaxsr.models.presets import ModelPreset

Mask = Float[np.ndarray, "_h _w"]


def check_mask(preset: ModelPreset, mask: Any, size: tuple[int, int]) -> Mask | None:
    """Convert the mask of an image of `size` (height, width) to float32 in [0, 1]; None for a network without a mask.

    Args:
        preset: preset of the model.
        mask: (h, w) of uint8, uint16, bool, or float in [0, 1]; None if there is none.
        size: size of the image.
    Raises:
        ValueError: for a mask of another size or with other numbers, a missing one, or one that the model does not
            take.
    """
    check_takes_mask(preset, given=mask is not None)
    if mask is None:
        return None
    values = as_map(as_array(mask), "mask")
    if values.shape != size:
        (height, width), (rows, columns) = size, values.shape
        raise ValueError(f"mask: must be {width}x{height} pixels, as the image is, but is {columns}x{rows}.")
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("mask: must be in [0, 1]: 1 (white) where the content is to be filled in, 0 where it is kept.")
    return values


def check_takes_mask(preset: ModelPreset, *, given: bool) -> None:
    """Raise ValueError unless a mask is given exactly if the network takes one."""
    if preset.network.cond_mask and not given:
        raise ValueError(
            f"mask: the model {preset.name} fills in the part of an image that a mask marks; give the mask, with "
            "--mask to python -m jaxsr.sample, or choose another model."
        )
    if given and not preset.network.cond_mask:
        raise ValueError(
            f"mask: the model {preset.name} takes no mask; leave it out, or choose a model for inpainting."
        )


def with_mask(rgb: Float[np.ndarray, "h w 3"], mask: Mask | None) -> Float[np.ndarray, "h w c"]:
    """Append the mask to the image as a fourth channel; without a mask return the image."""
    return rgb if mask is None else np.concatenate([rgb, mask[..., None]], -1)


def keep_known(out: Num[np.ndarray, "h w *c"], image: Num[np.ndarray, "h w *d"], mask: Mask) -> None:
    """Put the known pixels of the image back into the result `out`, in place. Where the mask is 0, they are equal bits.

    Args:
        out: the result of the network: (h, w), (h, w, 3), or (h, w, panels, 3) for a strip.
        image: the input, (h, w) or (h, w, 3), in the type of `out` or as float in [0, 1].
        mask: 1 where the content is unknown.
    """
    pixels = image if image.dtype == out.dtype else from_float(np.asarray(image, np.float32), out.dtype)
    known, soft = mask == 0, (mask > 0) & (mask < 1)
    spread = (slice(None), None) if out.ndim == 4 else slice(None)  # the panels of a strip share their pixels
    out[known] = pixels[known][spread]
    weight, made, kept = mask[soft].reshape(-1, *[1] * (out.ndim - 2)), out[soft], pixels[soft][spread]
    if np.issubdtype(out.dtype, np.integer):
        peak = np.float32(np.iinfo(out.dtype).max)
        out[soft] = from_float(made / peak * weight + kept / peak * (1 - weight), out.dtype)
    else:
        out[soft] = made * weight + kept * (1 - weight)
