"""Transparency, which the network does not see: colours for hidden pixels, and enlargement of alpha by Lanczos."""

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy.ndimage import distance_transform_edt


def bleed(rgb: Float[np.ndarray, "h w 3"], alpha: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
    """Give each fully transparent pixel the colour of the nearest visible one, so that edges enlarge without fringes.

    Pixels with alpha > 0 do not change. An image without visible pixels is returned as it is. The time is linear in the
    number of pixels.
    """
    hidden = alpha <= 0
    if hidden.all() or not hidden.any():
        return rgb
    rows, columns = np.asarray(distance_transform_edt(hidden, return_distances=False, return_indices=True))
    return rgb[rows, columns]


def upscale_alpha(alpha: Float[np.ndarray, "h w"], scale: int) -> Float[np.ndarray, "H W"]:
    """Enlarge alpha in [0, 1] by Lanczos to exactly (scale*h, scale*w), as float32 clipped to [0, 1].

    Raises ValueError if scale is below 1.
    """
    if scale < 1:
        raise ValueError(f"scale is {scale}; give a whole number from 1 up")
    height, width = alpha.shape
    image = Image.fromarray(np.ascontiguousarray(alpha, np.float32))
    enlarged = image.resize((scale * width, scale * height), Image.Resampling.LANCZOS)
    return np.clip(np.asarray(enlarged), 0.0, 1.0)
