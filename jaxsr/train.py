"""Train a model: python -m jaxsr.train --config configs/tiny_x4.py --output runs/tiny_x4"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jaxsr.train", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="Python file that defines `config`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run; a stopped run goes on")
    parser.add_argument("--data", help="folder of photographs or tfds:NAME/SPLIT, in place of the config's")
    parser.add_argument("--steps", type=int, help="updates, in place of the config's")
    parser.add_argument("--seed", type=int, help="seed, in place of the config's")
    parser.add_argument("--distributed", action="store_true", help="join the hosts of a cluster (jax.distributed)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    import jax

    from jaxsr.runtime import enable_compilation_cache
    from jaxsr.training.config import load_config
    from jaxsr.training.loop import train

    if args.distributed:
        jax.distributed.initialize()
    enable_compilation_cache()
    given = {key: value for key in ("data", "steps", "seed") if (value := getattr(args, key)) is not None}
    try:
        config = replace(load_config(args.config), **given)
        folder = train(config, args.output, lambda line: print(line, flush=True))
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"model: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
