"""Transparency beside the network: colour for hidden pixels, and alpha enlarged by Lanczos (not by the network)."""

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy.ndimage import distance_transform_edt


def bleed(rgb: Float[np.ndarray, "h w 3"], alpha: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
    """Give each fully transparent pixel the colour of the nearest one that shows: edges then enlarge without fringes.

    Pixels with alpha > 0 are untouched; an image of which nothing shows comes back as it is. Linear in pixels.
    """
    hidden = alpha <= 0
    if hidden.all() or not hidden.any():
        return rgb
    rows, columns = np.asarray(distance_transform_edt(hidden, return_distances=False, return_indices=True))
    return rgb[rows, columns]


def upscale_alpha(alpha: Float[np.ndarray, "h w"], scale: int) -> Float[np.ndarray, "H W"]:
    """Enlarge alpha in [0,1] by Lanczos to exactly (scale*h, scale*w), float32 clipped to [0,1].

    Raises ValueError when scale is below 1.
    """
    if scale < 1:
        raise ValueError(f"scale is {scale}; give a whole number from 1 up")
    height, width = alpha.shape
    image = Image.fromarray(np.ascontiguousarray(alpha, np.float32))
    enlarged = image.resize((scale * width, scale * height), Image.Resampling.LANCZOS)
    return np.clip(np.asarray(enlarged), 0.0, 1.0)
