"""Convert released PyTorch checkpoints, and prove the result: python -m weight_conversion convert A.pth B.pth -o DIR"""

import argparse
import sys
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    """The options of the two commands."""
    epilog = "exit code: 0 done, 1 error or above tolerance, 2 wrong usage"
    parser = argparse.ArgumentParser(prog="python -m weight_conversion", description=__doc__, epilog=epilog)
    commands = parser.add_subparsers(dest="command", required=True)

    convert = commands.add_parser("convert", help="two .pth or .safetensors files into one checkpoint", epilog=epilog)
    convert.add_argument("files", type=Path, nargs="+", metavar="FILE", help="the network and its autoencoder")
    convert.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the checkpoint")
    convert.add_argument("--preset", metavar="NAME", help="model or preset, where file names do not tell it")
    convert.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is there already")

    verify = commands.add_parser("verify", help="compare with golden arrays or the original code", epilog=epilog)
    verify.add_argument("files", type=Path, nargs="+", metavar="FILE", help="checkpoint; for sampler also its partner")
    verify.add_argument("--config", type=Path, metavar="JSON", help="hyperparameters (default: from keys and shapes)")
    against = verify.add_mutually_exclusive_group(required=True)
    against.add_argument("--golden", type=Path, metavar="NPZ", help="inputs and outputs to be equal to")
    against.add_argument("--torch-repo", type=Path, metavar="DIR", help="your checkout of the original PyTorch code")
    kinds = ("unet", "autoencoder", "sampler")
    verify.add_argument("--kind", choices=kinds, help="what the golden file is of (default: from its name)")
    verify.add_argument("--torch-target", metavar="MODULE:CLASS", help="the class (default: that of ResShift)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = make_parser().parse_args(argv)
    try:
        return _convert(args) if args.command == "convert" else _verify(args)
    except (ValueError, OSError) as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 1


def _sentence(error: ValueError | OSError) -> str:
    """The system's own errors of a file with the name first, in place of `[Errno 2] ...`."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}; check the name."
    return str(error)


def _convert(args: argparse.Namespace) -> int:
    from weight_conversion.convert import convert_files

    path = convert_files(args.files, args.output, preset=args.preset, overwrite=args.overwrite)
    print(f"made {path}; use it with  python -m jaxsr.sample -n {args.output}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from weight_conversion.report import Comparison, print_report, rows

    names = ("files", "golden", "torch_repo", "config", "kind", "torch_target")
    return 1 if print_report(rows(Comparison(**{name: getattr(args, name) for name in names}))) else 0


if __name__ == "__main__":
    sys.exit(main())
