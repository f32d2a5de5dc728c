"""The weights of LPIPS and DISTS: where they come from, and their files on this machine.

A file is made once, by `convert_lpips`, from torchvision's network and the authors' weights of its channels. Those are
a few kB and come with jaxsr; the networks are large and are downloaded.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxsr.checkpoint import FILE_NAME, load
from jaxsr.metrics.dists import dists_shapes
from jaxsr.metrics.feature_nets import check_shapes_of
from jaxsr.metrics.lpips import lpips_shapes
from jaxsr.registry import RemoteFile, cache_dir

FOLDER_VARIABLE = "JAXSR_METRICS_DIR"
BUNDLED_HEADS = Path(__file__).parents[1] / "assets" / "perceptual" / FILE_NAME
_TORCHVISION = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class PerceptualCard:
    """A metric by name: the file of its network, and the shapes of its parameters."""

    name: str
    backbone: RemoteFile
    shapes: dict[str, tuple[int, ...]]

    def head_shapes(self) -> dict[str, tuple[int, ...]]:
        """Those that are not the network's."""
        return {name: shape for name, shape in self.shapes.items() if not name.startswith("features.")}


def _file(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(name, (f"{_TORCHVISION}/{name}",), size, sha256)


# torchvision's file names end in the first digits of the SHA-256.
_ALEXNET = _file(
    "alexnet-owt-7be5be79.pth", 244408911, "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
)
_VGG16 = _file("vgg16-397923af.pth", 553433881, "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0")
CARDS = {
    card.name: card
    for card in (
        PerceptualCard("lpips-alex", _ALEXNET, lpips_shapes("alex")),
        PerceptualCard("lpips-vgg", _VGG16, lpips_shapes("vgg")),
        PerceptualCard("dists", _VGG16, dists_shapes()),
    )
}


def find_card(name: str) -> PerceptualCard:
    """The metric of that name. Raises ValueError for another than `lpips-alex`, `lpips-vgg` and `dists`."""
    if name not in CARDS:
        raise ValueError(f"there are no weights {name!r}: use one of {', '.join(CARDS)}")
    return CARDS[name]


def metrics_dir() -> Path:
    """The folder of converted weights: JAXSR_METRICS_DIR, else `metrics` in `jaxsr.registry.cache_dir()`."""
    own = os.environ.get(FOLDER_VARIABLE)
    return Path(own).expanduser() if own else cache_dir() / "metrics"


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
        from jaxsr.metrics.convert_lpips import convert_metric  # the converter, seldom needed

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
    from jaxsr.download import DownloadError, fetch  # HTTP

    file = card.backbone
    path = cache_dir() / "downloads" / file.name
    try:
        return fetch(file.urls, path, sha256=file.sha256, size=file.size)
    except DownloadError as error:
        raise type(error)(f"the weights of {card.name} are not on this machine and {error}") from error
