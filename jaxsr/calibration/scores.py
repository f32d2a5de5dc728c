"""The scores of enlarged images in the closed loop, computed inside the compiled sweep."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxsr.calibration.sweep import NO_NETWORKS, Networks, Score
from jaxsr.metrics.catalogue import METRICS, Conditions
from jaxsr.metrics.perceptual_cards import CARDS
from jaxsr.metrics.perceptual_files import load_perceptual, perceptual_path
from jaxsr.models.model import Image
from jaxsr.storage import sha256_file


def make_score(metrics: Sequence[str], scale: int) -> Score:
    """The function (enlarged, HR, LR, networks) -> {name: one number per image} of metrics in `METRICS`.

    Nothing is rounded. PSNR and the SSIMs compare the luma and leave out a border of `scale` pixels, as the benchmarks
    do. The sliced Wasserstein distance uses the same patches and projections for every image and candidate. LPIPS (of
    AlexNet) and DISTS compare whole RGB images with the `networks` of `load_networks`.
    """

    def score(sr: Image, hr: Image, lr: Float[Array, "b p q 3"], networks: Networks = NO_NETWORKS) -> dict[str, Array]:
        found = {}
        for name in metrics:
            measure = METRICS[name].measure
            assert measure is not None
            conditions = Conditions(scale=scale, border=scale, network=networks.get(name, {}))
            found[name] = measure(sr, hr, lr, conditions)
        return found

    return score


def weights_of(metrics: Sequence[str]) -> dict[str, str]:
    """Metric -> name of its network's weights, for the metrics that need a network."""
    named = {name: METRICS[name].weights(Conditions()) for name in metrics}
    return {name: weights for name, weights in named.items() if weights}


def load_networks(metrics: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Metric -> parameters of its network, for the metrics that need one. Missing weights are downloaded.

    Raises as `load_perceptual`: OSError where weights are unavailable, ValueError for a damaged file.
    """
    return {name: load_perceptual(weights) for name, weights in weights_of(metrics).items()}


def network_shapes(metrics: Sequence[str]) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """The shapes of what `load_networks` returns. Reads no file."""
    return {
        name: {key: jax.ShapeDtypeStruct(shape, np.float32) for key, shape in CARDS[weights].shapes.items()}
        for name, weights in weights_of(metrics).items()
    }


def hash_networks(metrics: Sequence[str]) -> dict[str, str]:
    """Name of the weights -> SHA-256 of their file, for every network that is needed. Raises as `load_networks`."""
    return {name: sha256_file(perceptual_path(name)) for name in weights_of(metrics).values()}


def keep_images(sr: Image, hr: Image, lr: Float[Array, "b p q 3"], networks: Networks) -> dict[str, Array]:
    """In place of scores: the enlarged images themselves, for pictures."""
    return {"images": sr}
