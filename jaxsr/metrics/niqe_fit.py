"""The fit of the NIQE model to the sharp blocks of good photographs (Mittal et al., 2013)."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Float, Float64

from jaxsr.imaging.files import read_photo
from jaxsr.imaging.folders import list_images
from jaxsr.metrics.niqe import BLOCK, block_sharpness, niqe_features, niqe_luma
from jaxsr.metrics.niqe_model import FEATURES, make_niqe_model
from jaxsr.storage import whole_file

THRESHOLD = 0.75


def list_photos(paths: Iterable[Path]) -> list[Path]:
    """List the given files, and all image files in and below the given folders. Raises ValueError if none exist."""
    photos = [photo for path in paths for photo in (list_images(path, recursive=True) if path.is_dir() else [path])]
    if not photos:
        raise ValueError("there are no image files in the given folders: give photographs")
    return photos


def sharp_features(path: Path, threshold: float, luma: str) -> Float[np.ndarray, "n 36"]:
    """Compute the features of the sharp blocks of a photograph. Flat blocks are never included.

    A block is sharp if its sharpness exceeds `threshold` times the sharpness of the sharpest block. Raises ValueError
    if the threshold is outside [0,1), or if the photograph is smaller than one block.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is {threshold}: use a number of at least 0 and less than 1")
    rgb = read_photo(path).rgb
    if min(rgb.shape[:2]) < BLOCK:
        raise ValueError(f"{path}: is smaller than {BLOCK} x {BLOCK} pixels; leave it out")
    features, sharpness = (np.asarray(x[0]) for x in _measure(jax.numpy.asarray(rgb[None]), luma=luma))
    return features[(sharpness > threshold * sharpness.max()) & np.isfinite(features).all(axis=1)]


@partial(jax.jit, static_argnames="luma")
def _measure(rgb: Array, luma: str) -> tuple[Array, Array]:
    y = niqe_luma(rgb, luma)
    return niqe_features(y), block_sharpness(y)


def fit(features: Float[np.ndarray, "n f"]) -> tuple[Float64[np.ndarray, " f"], Float64[np.ndarray, "f f"]]:
    """Compute mean and covariance of the blocks' features. Raises ValueError if the blocks are too few for a model."""
    if len(features) <= FEATURES:
        raise ValueError(f"only {len(features)} sharp blocks: give more photographs (a few hundred blocks are good)")
    features = features.astype(np.float64)
    mean, covariance = features.mean(axis=0), np.cov(features, rowvar=False)
    make_niqe_model(mean, covariance)  # raises ValueError if the model is unusable
    return mean, covariance


def write_model(path: Path, mean: np.ndarray, covariance: np.ndarray, source: str) -> None:
    """Write the file that `load_niqe_model` reads, completely or not at all."""
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(file, mu_pris_param=mean, cov_pris_param=covariance, source=np.array(source))
