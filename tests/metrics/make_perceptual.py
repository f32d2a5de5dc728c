"""Make the committed files of LPIPS and DISTS from the authors' packages (torch, lpips, DISTS_pytorch):

    python -m tests.metrics.make_perceptual heads    # jaxsr/assets/perceptual/model.safetensors
    python -m tests.metrics.make_perceptual golden   # tests/golden/perceptual.npz

The golden numbers come from the packages' own classes in float64, on the random networks and the images of
`perceptual_weights`, with the published weights of the channels. They were made with torch 2.13.0, torchvision 0.28.0,
lpips 0.1.4 and DISTS-pytorch 0.1.
"""

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxsr.hub.checkpoint import save
from jaxsr.metrics.perceptual_cards import BUNDLED_HEADS, find_card
from jaxsr.metrics.perceptual_conversion import convert_heads
from jaxsr.storage import sha256_file
from tests.metrics.perceptual_weights import image_pairs, random_backbone

GOLDEN = Path(__file__).parents[1] / "golden" / "perceptual.npz"
HEADS = {
    "lpips-alex": ("lpips", "lpips/weights/v0.1/alex.pth"),
    "lpips-vgg": ("lpips", "lpips/weights/v0.1/vgg.pth"),
    "dists": ("DISTS-pytorch", "DISTS_pytorch/weights.pt"),
}


def published_heads(metric: str) -> Path:
    """Return the path of the heads' file in the installed package."""
    package, name = HEADS[metric]
    return Path(str(importlib.metadata.distribution(package).locate_file(name)))


def make_heads() -> None:
    params = {
        f"{metric}.{name}": value
        for metric in HEADS
        for name, value in convert_heads(find_card(metric), published_heads(metric)).items()
    }
    sources = {HEADS[metric][1]: sha256_file(published_heads(metric)) for metric in HEADS}
    licences = {"lpips": "BSD-2-Clause", "dists": "MIT"}
    save(BUNDLED_HEADS.parent, params, {"sources": sources, "licences": licences})


def torch_metric(metric: str) -> Callable[..., Any]:
    """Return the package's metric on images in [0,1] (tensors, NCHW), with our random network in it, in float64."""
    import torch
    import torchvision

    def build(net: str) -> Callable[..., Any]:
        def random_network(**_: object) -> torch.nn.Module:  # in place of one with ImageNet's weights
            model = made[net](weights=None)
            state = {key: torch.from_numpy(value) for key, value in random_backbone(net).items()}
            assert not model.load_state_dict(state, strict=False).unexpected_keys  # the classifier is not used
            return model

        return random_network

    made = {net: getattr(torchvision.models, net) for net in ("alexnet", "vgg16")}
    try:
        for net in made:
            setattr(torchvision.models, net, build(net))
        return _build_metric(metric)
    finally:
        for net in made:
            setattr(torchvision.models, net, made[net])


def _build_metric(metric: str) -> Callable[..., Any]:
    if metric == "dists":
        from DISTS_pytorch import DISTS

        model = DISTS().double().eval()
        return lambda a, b: model(a, b, require_grad=True)
    import lpips

    model = lpips.LPIPS(net=metric.removeprefix("lpips-"), verbose=False).double().eval()
    return lambda a, b: model(a, b, normalize=True)[:, 0, 0, 0]


def golden(metric: str) -> dict[str, np.ndarray]:
    """Return the scores of all pairs, and as `<metric>/gradient` their sum's gradient by the first images (NHWC)."""
    import torch

    a, b = (torch.from_numpy(x).double().permute(0, 3, 1, 2) for x in image_pairs(metric))
    a.requires_grad_()
    score = torch_metric(metric)(a, b)
    score.sum().backward()
    assert a.grad is not None
    return {metric: score.detach().numpy(), f"{metric}/gradient": a.grad.permute(0, 2, 3, 1).numpy()}


if __name__ == "__main__":
    if sys.argv[1] == "heads":
        make_heads()
    else:
        np.savez_compressed(GOLDEN, **{metric: golden(metric)[metric] for metric in HEADS})
