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
    """Make the function (enlarged, HR, LR, networks) -> {name: one number per image} for metrics in `METRICS`.

    Nothing is rounded. PSNR and the SSIMs compare the luma and leave out a border of `scale` pixels, as the benchmarks
    do. The sliced Wasserstein distance uses the same patches and projections for every image and candidate. LPIPS (with
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
    """Return the name of each network's weights, by metric, for the metrics that need a network."""
    named = {name: METRICS[name].weights(Conditions()) for name in metrics}
    return {name: weights for name, weights in named.items() if weights}


def load_networks(metrics: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Load the parameters of each network, by metric, for the metrics that need one. Missing weights are downloaded.

    Raises OSError if weights are unavailable, and ValueError for a damaged file.
    """
    return {name: load_perceptual(weights) for name, weights in weights_of(metrics).items()}


def network_shapes(metrics: Sequence[str]) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """Return the shapes of the arrays that `load_networks` returns, without reading a file."""
    return {
        name: {key: jax.ShapeDtypeStruct(shape, np.float32) for key, shape in CARDS[weights].shapes.items()}
        for name, weights in weights_of(metrics).items()
    }


def hash_networks(metrics: Sequence[str]) -> dict[str, str]:
    """Compute the SHA-256 of every needed file of weights, by the weights' name. Raises as `load_networks` does."""
    return {name: sha256_file(perceptual_path(name)) for name in weights_of(metrics).values()}


def keep_images(sr: Image, hr: Image, lr: Float[Array, "b p q 3"], networks: Networks) -> dict[str, Array]:
    """Return the enlarged images in place of scores, for pictures."""
    return {"images": sr}
