"""Protocols: all that decides a number beside the images, in a small file, with a hash that every result carries.

A protocol file is JSON; those of jaxsr lie in `protocols/`. A result's hash is that of the protocol and of the pixels
of the images that were scored: equal hashes mean numbers that may stand in one column.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Num

DEFAULT = "plain"
_WORDS = {"colour": ("rgb", "y"), "grey_luma": ("as-rgb", "full"), "bits": (8, None)}


class ProtocolError(ValueError):
    """A protocol that cannot be read, or images that are not those that it names."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is compared, and how. In all of it the images are cropped at the bottom and the right to whole LR pixels.

    Attributes:
        name, about: what it is called and, in a sentence, what it is.
        scale: HR over LR size.
        colour: what PSNR, SSIM and MS-SSIM compare: the RGB channels, or Y of BT.601 (16..235).
        grey_luma: Y of files that are grey: `as-rgb`, 16..235 like the others', or `full`, their own grey levels, as
            MATLAB code that converts only colour images has it.
        round_luma: Y rounded to whole grey levels, as `rgb2ycbcr` of 8-bit images gives it.
        border: pixels left out on each side by PSNR, SSIM, MS-SSIM and NIQE.
        bits: 8 for results and originals rounded to 8 bits before they are compared; None leaves them as they are.
        crop: side in LR pixels of the centre crop that is used of each image; None for the whole image.
        patches: the crop is divided into patches x patches images.
        seed: of the samples, where no other is given, and of the places that the sliced Wasserstein distance looks at.
        dataset: the data set that is meant where none is given.
        metrics: scored by default.
        variants: of metrics, as {"lpips": {"net": "vgg"}}; what is not named is as the metric's own default.
        images: SHA-256 of the pixels of every original by its name, see `pixel_hash`; none for any images.
        lr_images: of the LR images likewise.
    """

    name: str
    about: str
    scale: int = 4
    colour: str = "y"
    grey_luma: str = "as-rgb"
    round_luma: bool = False
    border: int = 4
    bits: int | None = 8
    crop: int | None = None
    patches: int = 1
    seed: int = 0
    dataset: str | None = None
    metrics: tuple[str, ...] = ("psnr", "ssim", "lr_consistency", "swd", "niqe")
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    lr_images: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                self._refuse(f"{name} is {getattr(self, name)!r}; use one of {', '.join(map(json.dumps, words))}.")
        for name, least in {"scale": 1, "border": 0, "patches": 1, "crop": 1, "seed": 0}.items():
            value = getattr(self, name)
            if not (name == "crop" and value is None) and not (isinstance(value, int) and value >= least):
                self._refuse(f"{name} must be a whole number from {least} up, not {value!r}.")
        if (self.crop or 0) % self.patches or (self.patches > 1 and self.crop is None):
            self._refuse(f"{self.patches} patches a side do not divide the crop {self.crop}.")

    def _refuse(self, reason: str) -> None:
        raise ProtocolError(f"protocol {self.name}: {reason}")

    def variant(self, metric: str) -> dict[str, Any]:
        """What the protocol says of one metric."""
        return dict(self.variants.get(metric, {}))

    def check(self, name: str, pixels: Num[np.ndarray, "h w 3"], *, lr: bool = False) -> str:
        """The hash of an original's (or an LR image's) pixels; ProtocolError where the protocol names others."""
        found, listed = pixel_hash(pixels), self.lr_images if lr else self.images
        if listed and listed.get(name) != found:
            what, size = f"{'LR image' if lr else 'original'} {name}", f"{pixels.shape[1]}x{pixels.shape[0]}"
            why = "has other pixels than" if name in listed else "is not in the list of"
            raise ProtocolError(f"{what} {why} protocol {self.name} (it is of {size}); {self.wanted}.")
        return found

    @property
    def wanted(self) -> str:
        """Which images the protocol is of, and what to do where they are not at hand: for the end of an error."""
        return (
            f"this protocol is of certain files ({self.about}): docs/evaluation.md tells where to get them; for other "
            f"images give --protocol {DEFAULT}, or a protocol that python -m jaxsr.evaluate pin makes of them"
        )

    def hash(self, images: Mapping[str, str]) -> str:
        """SHA-256 of how it measures, and of the originals that were scored (by name, their pixels' hashes).

        Names, default metrics and lists are of no account, what was scored is in `images`; nor are the variants of
        metrics, which each metric of a result tells itself.
        """
        how = {key: value for key, value in asdict(self).items() if key not in NOT_HASHED}
        return hashlib.sha256(json.dumps([how, dict(images)], sort_keys=True).encode()).hexdigest()


NOT_HASHED = ("name", "about", "dataset", "metrics", "variants", "images", "lr_images")
"""Fields in which two protocols may differ and still measure the same."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` of what begins so or is most alike, in any case; nothing where nothing is alike."""
    small, names = name.lower(), list(known)
    close = [one for one in names if small and one.startswith(small)]
    close = close or difflib.get_close_matches(small, names, n=1)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def pixel_hash(pixels: Num[np.ndarray, "h w 3"]) -> str:
    """SHA-256 of an RGB image's size, type and pixels: the same for every lossless format that it is kept in."""
    head = f"{pixels.shape} {pixels.dtype}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()
