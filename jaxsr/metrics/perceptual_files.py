"""The weights of LPIPS and DISTS on this machine: converted once from torchvision's network and the authors' heads.

The heads (the weights of the channels) take a few kB and are part of jaxsr. The networks are large and are downloaded.
"""

import sys
from pathlib import Path

import numpy as np

from jaxsr.hub.checkpoint import FILE_NAME, load
from jaxsr.metrics.feature_nets import check_shapes_of
from jaxsr.metrics.perceptual_cards import CARDS, PerceptualCard, find_card, metrics_dir
from jaxsr.storage import cache_dir


def perceptual_path(name: str, folder: Path | None = None) -> Path:
    """The file of a metric's weights, `<folder>/<name>/model.safetensors`, made from a download where it is not there.

    `folder` is by default `metrics_dir()`. The SHA-256 of the file tells which weights a number was made with.

    Raises:
        ValueError: for an unknown name, or a download that is not the network.
        DownloadError: (an OSError) where the network cannot be had; it says how to bring it by hand.
    """
    card, folder = find_card(name), folder or metrics_dir()
    path = folder / name / FILE_NAME
    if not path.exists():
        from jaxsr.metrics.perceptual_conversion import convert_metric  # the converter, seldom needed

        print(f"{name}: weights of {card.backbone.name} (torchvision, BSD-3-Clause), converted once", file=sys.stderr)
        convert_metric(name, folder, backbone=_download(card))
    return path


def load_perceptual(name: str, folder: Path | None = None) -> dict[str, np.ndarray]:
    """The parameters of `lpips-alex`, `lpips-vgg` or `dists`, float32, for `lpips` and `dists`.

    Arguments, errors: as `perceptual_path`; ValueError also for a file that is damaged or of another network.
    """
    path = perceptual_path(name, folder)
    params, _ = load(path, dtype=np.float32)
    try:
        check_shapes_of(params, CARDS[name].shapes, name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; or delete the file to have it made again") from error
    return params


def _download(card: PerceptualCard) -> Path:
    from jaxsr.hub.download import DownloadError, fetch  # HTTP

    file = card.backbone
    path = cache_dir() / "downloads" / file.name
    try:
        return fetch(file.urls, path, sha256=file.sha256, size=file.size)
    except DownloadError as error:
        raise type(error)(f"the weights of {card.name} are not on this machine and {error}") from error
