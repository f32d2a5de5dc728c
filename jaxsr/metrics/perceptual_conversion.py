"""The conversion of the weights of LPIPS and DISTS from the published PyTorch files, without PyTorch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxsr.hub.checkpoint import Stored, load, part, save
from jaxsr.metrics.perceptual_cards import BUNDLED_HEADS, PerceptualCard, find_card
from jaxsr.storage import sha256_file
from jaxsr.torch_files.key_rules import KeyRule, convert
from jaxsr.torch_files.reader import read_state_dict


def convert_metric(name: str, folder: Path, *, backbone: Path, heads: Path | None = None) -> Path:
    """Convert torchvision's file and a file of heads to `<folder>/<name>/model.safetensors`, completely or not at all.

    By default, `heads` is the file that comes with jaxsr. The result records the file names, their SHA-256, and whether
    the network is the one that torchvision publishes.

    Raises ValueError, which names the file, if a file is damaged or belongs to another network. Raises OSError if a
    file is missing.
    """
    card = find_card(name)
    params: dict[str, np.ndarray | Stored] = {**_read_backbone(card, backbone), **_read_heads(card, heads)}
    sources = {path.name: sha256_file(path) for path in (backbone, heads or BUNDLED_HEADS)}
    published = sources[backbone.name] == card.backbone.sha256
    return save(folder / name, params, {"metric": name, "sources": sources, "published_network": published})


def _read_backbone(card: PerceptualCard, path: Path) -> Mapping[str, Stored]:
    """Read the convolutions. The classifier behind them is left out."""
    rules = (
        KeyRule(r"(features\.\d+)\.weight", (None, None, None, None), r"\1.kernel", (2, 3, 1, 0)),  # OIHW -> HWIO
        KeyRule(r"(features\.\d+\.bias)", (None,), r"\1", (0,)),
    )
    state = {key: value for key, value in read_state_dict(path).items() if not key.startswith("classifier.")}
    shapes = {name: shape for name, shape in card.shapes.items() if name.startswith("features.")}
    return convert(state, shapes, {}, source=str(path), rules=rules)


def _read_heads(card: PerceptualCard, path: Path | None) -> Mapping[str, np.ndarray | Stored]:
    if path is None:
        bundled, _ = load(BUNDLED_HEADS)
        return part(bundled, f"{card.name}.")
    return convert_heads(card, path)


def convert_heads(card: PerceptualCard, path: Path) -> Mapping[str, Stored]:
    """Read the channel weights from a file of the `lpips` or the `DISTS_pytorch` package, under our names."""
    rules = (
        KeyRule(r"lin(\d)\.model\.1\.weight", (1, None, 1, 1), r"head.\1", (1,)),
        KeyRule(r"(alpha|beta)", (1, None, 1, 1), r"\1", (1,)),
    )
    return convert(read_state_dict(path), card.head_shapes(), {}, source=str(path), rules=rules)
