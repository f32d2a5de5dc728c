"""The model that NIQE compares images with: mean and covariance of the 36 features of good photographs, in a file."""

import os
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np
from jaxtyping import Array, Float, Real

FEATURES = 36
BUNDLED = Path(__file__).parents[1] / "assets" / "niqe.npz"
NPZ_KEYS, MAT_KEYS = ("mu_pris_param", "cov_pris_param"), ("mu_prisparam", "cov_prisparam")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NiqeModel:
    """The mean m of the good photographs' features, and the matrix W that whitens them: W cov W^T = 1. A pytree."""

    mean: Float[np.ndarray | Array, "36"]
    whitening: Float[np.ndarray | Array, "36 36"]


def make_niqe_model(mean: Real[np.ndarray, "36"], covariance: Real[np.ndarray, "36 36"]) -> NiqeModel:
    """Make a model from the mean and covariance of the features.

    The covariance is inverted in float64; the model holds float32 arrays on the host. Raises ValueError if the
    covariance is not positive definite, or if a number is not finite.
    """
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError("the mean or the covariance of the NIQE features is not finite: fit the model again")
    try:
        whitening = np.linalg.inv(np.linalg.cholesky(np.asarray(covariance, np.float64)))
    except np.linalg.LinAlgError as error:
        raise ValueError("the covariance of the NIQE features is singular: fit to more photographs") from error
    return NiqeModel(np.asarray(mean, np.float32), np.asarray(whitening, np.float32))


@cache
def bundled_niqe_model() -> NiqeModel:
    """Return the model that comes with jaxsr, read once. `source` in its file names the photographs of the fit."""
    return load_niqe_model(BUNDLED)


def load_niqe_model(path: str | os.PathLike[str]) -> NiqeModel:
    """Read a model: one that `jaxsr.metrics.niqe_fit` wrote, or one of the published parameter files.

    The published files are `modelparameters.mat` (mu_prisparam, cov_prisparam) and `niqe_pris_params.npz`
    (mu_pris_param, cov_pris_param, and the 7x7 Gaussian window that `jaxsr.metrics.niqe` uses anyway). With luma="grey"
    they give the numbers of the authors' program, with luma="ycbcr" the numbers of super-resolution papers.
    Raises ValueError if the file is not such a model, and OSError if it cannot be read.
    """
    arrays = _read_arrays(Path(path))
    for mean_key, covariance_key in (NPZ_KEYS, MAT_KEYS):
        if mean_key in arrays and covariance_key in arrays:
            mean, covariance = arrays[mean_key], arrays[covariance_key]
            if mean.size != FEATURES or covariance.shape != (FEATURES, FEATURES):
                raise ValueError(f"{path}: the model does not have {FEATURES} features; give a NIQE parameter file")
            return _make_from_file(path, mean.reshape(FEATURES), covariance)
    wanted = " or ".join(" and ".join(keys) for keys in (NPZ_KEYS, MAT_KEYS))
    raise ValueError(f"{path}: has no {wanted}; give a NIQE parameter file")


def _make_from_file(path: str | os.PathLike[str], mean: np.ndarray, covariance: np.ndarray) -> NiqeModel:
    try:
        return make_niqe_model(mean, covariance)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a model by name, from a .mat file (up to version 7) or an .npz file."""
    load = _read_mat if path.suffix.lower() == ".mat" else np.load
    try:
        with path.open("rb") as file:
            arrays = load(file)
            return {key: arrays[key] for key in (*NPZ_KEYS, *MAT_KEYS) if key in arrays}
    except (ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: is not an .npz or .mat file of arrays; give a NIQE parameter file") from error


def _read_mat(file: BinaryIO) -> dict[str, Any]:
    from scipy.io import loadmat  # imported here because .mat files are rare
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(file, variable_names=MAT_KEYS)
    except MatReadError as error:
        raise ValueError(error) from error
