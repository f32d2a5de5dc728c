"""What happens to a result's pixels after the network: corrected colours, known pixels, another size; and measures."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from jaxsr.batch.request import Request
from jaxsr.imaging.files import Photo
from jaxsr.imaging.lanczos import resize_into
from jaxsr.metrics.consistency import colour_drift_of, lr_consistency_by_bands
from jaxsr.upscaling.inpainting import keep_known
from jaxsr.upscaling.stream import Enlargement


@dataclass(frozen=True)
class Measures:
    """The measures of a result at the network's size.

    Attributes:
        consistency: LR-consistency in dB, for a strip of every panel; NaN with a mask.
        drift: colour drift in grey levels, for a strip the largest; NaN with a mask.
        facts: what the sidecar says about changed colours and sizes.
    """

    consistency: tuple[float, ...]
    drift: float
    facts: dict[str, Any] = field(default_factory=dict)


def finish_pixels(
    request: Request,
    photo: Photo,
    picture: Enlargement,
    canvas: Num[np.ndarray, "h w *c"],
    colour: Num[np.ndarray, "H W *c"],
    scale: int,
) -> Measures:
    """Correct what the network made, fill in the colours of the result from it, and measure it.

    Args:
        request: it says whether colours are corrected.
        photo: the photograph.
        picture: what the network got.
        canvas: what the network made, (h, w), (h, w, 3) or (h, w, panels, 3); it is changed in place.
        colour: the colours of the result; the canvas itself if nothing is resized or corrected.
        scale: the network's scale.
    """
    panels = [canvas[:, :, i] for i in range(canvas.shape[2])] if canvas.ndim == 4 else [canvas]
    if picture.mask is not None:
        keep_known(canvas, photo.rgb[..., 0] if canvas.ndim == 2 else photo.rgb, picture.mask)
        return Measures((math.nan,) * len(panels), math.nan)
    rgb, facts = picture.rgb, {}
    drift = max(_drift(panel, rgb) for panel in panels)
    if request.colour_fix:
        from jaxsr.imaging.colour_fix import fix_colours  # scipy.ndimage, for this option only

        facts["colour_drift_before"] = round(drift, 3)
        for panel in panels:
            fix_colours(panel, rgb[..., 0] if panel.ndim == 2 else rgb, request.colour_fix)
        drift = max(_drift(panel, rgb) for panel in panels)
    consistency = tuple(lr_consistency_by_bands(*_channels(panel, rgb), scale) for panel in panels)
    if canvas is not colour:
        resize_into(canvas, colour)
    if canvas.shape[:2] != colour.shape[:2]:
        facts["resized"] = {"from": [canvas.shape[1], canvas.shape[0]], "by": "lanczos"}
    return Measures(consistency, drift, facts)


def _drift(colour: Num[np.ndarray, "H W *c"], rgb: Float[np.ndarray, "h w 3"]) -> float:
    return colour_drift_of(*_channels(colour, rgb))


def _channels(
    colour: Num[np.ndarray, "H W *c"], rgb: Float[np.ndarray, "h w 3"]
) -> tuple[Num[np.ndarray, "H W k"], Float[np.ndarray, "h w k"]]:
    """Return a result and its input with equally many channels."""
    return (colour[..., None], rgb[..., :1]) if colour.ndim == 2 else (colour, rgb)
