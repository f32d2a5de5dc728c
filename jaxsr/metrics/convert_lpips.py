"""Make the weights of LPIPS and DISTS from the public files: python -m jaxsr.metrics.convert_lpips lpips-alex

Without --backbone the network is downloaded from torchvision's releases. The authors' weights of the channels come with
jaxsr; --heads takes others, such as lpips/weights/v0.1/alex.pth or DISTS_pytorch/weights.pt. PyTorch is not needed.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxsr.checkpoint import Stored, load, save, sha256_file
from jaxsr.metrics.perceptual_files import (
    BUNDLED_HEADS,
    CARDS,
    FOLDER_VARIABLE,
    PerceptualCard,
    find_card,
    metrics_dir,
    perceptual_path,
)


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    summary, _, notes = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m jaxsr.metrics.convert_lpips", description=summary.split(":")[0], epilog=notes
    )
    parser.add_argument("metrics", nargs="+", choices=list(CARDS), metavar="METRIC", help=", ".join(CARDS))
    parser.add_argument("--backbone", type=Path, metavar="FILE", help="alexnet or vgg16 of torchvision, .pth")
    parser.add_argument("--heads", type=Path, metavar="FILE", help="weights of the channels, .pth or .pt")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help=f"folder of the results (default: ${FOLDER_VARIABLE} or cache)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when the files are written, 1 after one sentence on an error."""
    args = make_parser().parse_args(argv)
    try:
        if len(args.metrics) > 1 and (args.backbone or args.heads):
            raise ValueError("--backbone and --heads are for one metric: give one METRIC")
        for name in args.metrics:
            print(_convert(name, args))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _convert(name: str, args: argparse.Namespace) -> Path:
    folder = args.output or metrics_dir()
    if args.backbone is None and args.heads is None:
        return perceptual_path(name, folder)
    if args.backbone is None:
        raise ValueError("--heads needs --backbone: give the network that they are for")
    return convert_metric(name, folder, backbone=args.backbone, heads=args.heads)


def convert_metric(name: str, folder: Path, *, backbone: Path, heads: Path | None = None) -> Path:
    """Write `<folder>/<name>/model.safetensors`, whole or not at all, from torchvision's file and a file of heads.

    `heads` is by default what comes with jaxsr. The file names and their SHA-256 go into the result, and whether the
    network is the one that torchvision publishes.

    Raises ValueError, naming the file, for one that is damaged or of another network; OSError for one that is missing.
    """
    card = find_card(name)
    params: dict[str, np.ndarray | Stored] = {**_read_backbone(card, backbone), **_read_heads(card, heads)}
    sources = {path.name: sha256_file(path) for path in (backbone, heads or BUNDLED_HEADS)}
    published = sources[backbone.name] == card.backbone.sha256
    return save(folder / name, params, {"metric": name, "sources": sources, "published_network": published})


def _read_backbone(card: PerceptualCard, path: Path) -> Mapping[str, Stored]:
    """The convolutions; the classifier behind them is left out."""
    from weight_conversion.reader import read_state_dict
    from weight_conversion.rules import Rule, convert

    rules = (
        Rule(r"(features\.\d+)\.weight", (None, None, None, None), r"\1.kernel", (2, 3, 1, 0)),  # OIHW -> HWIO
        Rule(r"(features\.\d+\.bias)", (None,), r"\1", (0,)),
    )
    state = {key: value for key, value in read_state_dict(path).items() if not key.startswith("classifier.")}
    shapes = {name: shape for name, shape in card.shapes.items() if name.startswith("features.")}
    return convert(state, shapes, {}, source=str(path), rules=rules)


def _read_heads(card: PerceptualCard, path: Path | None) -> Mapping[str, np.ndarray | Stored]:
    if path is None:
        bundled, _ = load(BUNDLED_HEADS)
        prefix = f"{card.name}."
        return {name.removeprefix(prefix): value for name, value in bundled.items() if name.startswith(prefix)}
    return convert_heads(card, path)


def convert_heads(card: PerceptualCard, path: Path) -> Mapping[str, Stored]:
    """The weights of the channels in a file of the `lpips` or the `DISTS_pytorch` package, by our names."""
    from weight_conversion.reader import read_state_dict
    from weight_conversion.rules import Rule, convert

    rules = (
        Rule(r"lin(\d)\.model\.1\.weight", (1, None, 1, 1), r"head.\1", (1,)),
        Rule(r"(alpha|beta)", (1, None, 1, 1), r"\1", (1,)),
    )
    return convert(read_state_dict(path), card.head_shapes(), {}, source=str(path), rules=rules)


if __name__ == "__main__":
    sys.exit(main())
