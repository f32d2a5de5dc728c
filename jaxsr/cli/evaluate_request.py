"""The evaluation that the options of scoring describe: images, protocol, metrics and method."""

import argparse
from pathlib import Path

from jaxsr.cli.exits import say_left_out
from jaxsr.cli.shared_options import chosen_options
from jaxsr.evaluation.datasets import fit_list, folder_items, open_dataset
from jaxsr.evaluation.methods import BICUBIC, Method, bicubic_method, model_method
from jaxsr.evaluation.metrics import check_metrics, default_metrics
from jaxsr.evaluation.pairs import Item, attach, folder_names
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.protocols import DEFAULT, Protocol
from jaxsr.evaluation.run import Evaluation
from jaxsr.hub.cards import check_can_run
from jaxsr.options import spell_tile, spell_value
from jaxsr.runtime.compilation import enable_compilation_cache
from jaxsr.runtime.devices import count_devices
from jaxsr.upscaling.loading import load
from jaxsr.upscaling.tile_choice import check_like

_NAMING = (
    "steps",
    "sampler",
    "precision",
    "like",
    "thinning",
    "tile",
    "overlap",
    "blend",
    "tile_noise",
    "alpha",
    "temperature",
    "projection",
    "through",
    "reference_variance",
    "preset",
)


def make_evaluation(args: argparse.Namespace, command: str) -> Evaluation:
    """Make the evaluation from the arguments, checked against the images and the model. Raises ValueError, OSError."""
    protocol = load_protocol(args.protocol or DEFAULT)
    items, data = _images(args, protocol)
    items = fit_list(items, protocol)[: args.limit]
    method = _method(args, protocol) if args.model else None
    at_hand = {"target": items[0].target is not None, "lr": method is not None or items[0].lr is not None}
    names = args.metrics or default_metrics(protocol, target=at_hand["target"], lr=at_hand["lr"])
    return Evaluation(
        name=args.name or (method.name if method else args.pred.resolve().name),
        items=items,
        data=data,
        protocol=protocol,
        metrics=check_metrics(names, protocol, **at_hand),
        method=method,
        seeds=tuple(dict.fromkeys(args.seeds or (protocol.seed,))),
        batch=args.batch,
        keep=args.keep,
        command=command,
    )


def _images(args: argparse.Namespace, protocol: Protocol) -> tuple[list[Item], str]:
    """Open the requested images, and return them with the name of their data set."""
    say_left_out([args.dataset, args.target, args.pred, args.lr])
    if args.pred is None:
        name = args.dataset or protocol.dataset
        if name is None:
            raise ValueError("--dataset: give the images to enlarge, as the name of a data set or as a folder.")
        return open_dataset(name, args.data, args.lr, protocol.scale), Path(name).name
    if args.target is None:
        return attach([Item(name) for name in folder_names(args.pred)], pred=args.pred, lr=args.lr), args.pred.name
    return attach(folder_items(args.target, protocol.scale), pred=args.pred, lr=args.lr), args.target.resolve().name


def _method(args: argparse.Namespace, protocol: Protocol) -> Method:
    if args.model == BICUBIC:
        return bicubic_method(protocol.scale)

    check_can_run(args.model, mask=False)
    upscaler = load(args.model, accept_license=args.accept_license)
    enable_compilation_cache(upscaler.preset.network.model_channels, args.precision or "fp32")
    protocol.check_scale(upscaler.preset.scale)
    check_like(upscaler.preset, args.like)
    options = chosen_options(args)
    words = [args.model if Path(args.model).suffix == "" else Path(args.model).stem]
    given = {name: value for name in _NAMING if (value := getattr(args, name)) is not None}
    given |= {"tile": spell_tile(given["tile"])} if "tile" in given else {}
    words += [f"{name.replace('_', ' ')} {spell_value(value)}" for name, value in given.items()]
    words += ["HR guidance"] * args.hr_guidance
    guidance = {"preset": args.preset, "calibration": args.calibration, "hr_guidance": args.hr_guidance}
    guidance |= {"devices": count_devices(args.devices or "all"), "batch": "auto" if args.batch == "auto" else 1}
    return model_method(upscaler, options, name=", ".join(words), model=args.model, **guidance)
