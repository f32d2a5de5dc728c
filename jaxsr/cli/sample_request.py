"""The work that the options of the sample command describe: model, requests, guide files, and notes about them."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxsr.choices import GradientForm
from jaxsr.cli.exits import say
from jaxsr.cli.shared_options import chosen_options

if TYPE_CHECKING:
    from jaxsr.batch.jobs import Job
    from jaxsr.batch.recipe import Recipe
    from jaxsr.batch.request import Request, SourceFile, StripPanel
    from jaxsr.choices import Batch
    from jaxsr.options import Options
    from jaxsr.upscaling.upscaler import Upscaler


@dataclass(frozen=True, eq=False)
class Work:
    """One run of the command: the model, the request for each job, and the settings that every image shares."""

    upscaler: "Upscaler"
    request: "Callable[[Job], Request]"
    recipe: "Recipe"
    output: Path
    batch: "Batch"
    devices: int
    accept_license: bool
    save_calibration: Path | None = None


def prepare(args: argparse.Namespace) -> Work:
    """Load the model, resolve the options for it, and read the guide files."""
    from jaxsr.batch.recipe import read_recipe
    from jaxsr.batch.request import GUIDE_FILES, SourceFile, hash_source, request_for
    from jaxsr.hub.cards import check_can_run
    from jaxsr.runtime.compilation import enable_compilation_cache
    from jaxsr.runtime.devices import count_devices
    from jaxsr.runtime.lowered import keep_lowered
    from jaxsr.upscaling.inpainting import check_takes_mask
    from jaxsr.upscaling.knob_presets import apply_knob_preset
    from jaxsr.upscaling.loading import load
    from jaxsr.upscaling.plan import plan_run
    from jaxsr.upscaling.tile_choice import check_like

    options = chosen_options(args)
    check_can_run(args.model, mask=args.mask is not None)
    keep_lowered()
    upscaler = load(args.model, accept_license=args.accept_license)
    check_like(upscaler.preset, args.like)
    check_takes_mask(upscaler.preset, given=args.mask is not None)
    enable_compilation_cache(upscaler.preset.network.model_channels, args.precision)
    calibration = None
    if args.preset:
        found = upscaler.find_calibration(options, args.calibration, args.preset)
        assert found.path is not None
        assert found.sha256 is not None
        calibration = SourceFile(found.path, found.sha256)
        options = apply_knob_preset(options, args.preset, found.calibration, reference=args.reference is not None)
    panels, calibration = named_panels(upscaler, options, args) if args.strip else ([], calibration)
    strip = () if panels else tuple(args.strip or ())
    for note in _knob_notes(upscaler, options, panels, args):
        say(f"note: {note}", wrong=True)
    resolved = plan_run(upscaler.preset, (1, 1), options).options  # refuses options that do not fit
    for panel in panels:
        plan_run(upscaler.preset, (1, 1), panel.options)
    open_ones = {"steps": resolved.steps, "sampler": resolved.sampler}
    if size := _say_size(upscaler, args):
        say(f"note: {size}", wrong=True)
    shared = [name for name in GUIDE_FILES if name != "mask"]  # every image may have its own mask
    paths = {name: path for name in shared if (path := getattr(args, name)) is not None}
    recipe = read_recipe(**paths)
    request = partial(
        request_for,
        model=args.model,
        model_sha256=upscaler.sha256,
        options=replace(options, **open_ones),
        quality=args.quality,
        strip=strip,
        panels=tuple(replace(panel, options=replace(panel.options, **open_ones)) for panel in panels),
        scale=args.scale if args.scale != upscaler.preset.scale else None,
        preset=args.preset,
        calibration=calibration,
        **{name: getattr(args, name) for name in ("seed", "metadata", "batch")},
        **{name: getattr(args, name) for name in ("reference_box", "feather", "objective")},
        **{name: getattr(args, name) for name in ("width", "height", "crop", "colour_fix")},
        **{name: hash_source(path) for name, path in paths.items()},
    )
    if args.mask:
        request = with_masks(request, args.mask)
    settings = {name: getattr(args, name) for name in ("output", "batch", "accept_license", "save_calibration")}
    return Work(upscaler, request, recipe, devices=count_devices(args.devices), **settings)


def named_panels(
    upscaler: "Upscaler", options: "Options", args: argparse.Namespace
) -> "tuple[list[StripPanel], SourceFile | None]":
    """Make the panels of a strip that has names, and return the calibration of its presets.

    There are none if all panels are alphas. Raises ValueError for a name that is no preset of the calibration.
    """
    from jaxsr.batch.request import SourceFile, StripPanel
    from jaxsr.upscaling.knob_presets import apply_knob_preset

    if not any(isinstance(panel, str) for panel in args.strip):
        return [], None
    source, panels = None, []
    form = {name: getattr(GradientForm(), name) for name in ("through", "reference_mean", "reference_variance")}
    for panel in args.strip:
        if panel == "plain":
            unguided = {} if args.reference else form
            chosen = replace(options, alpha=0.0, **unguided)
        elif isinstance(panel, str):
            found = upscaler.find_calibration(options, args.calibration, panel)
            if found.path is not None and found.sha256 is not None:
                source = SourceFile(found.path, found.sha256)
            chosen = apply_knob_preset(options, panel, found.calibration, reference=args.reference is not None)
        else:
            chosen = replace(options, alpha=panel)
        label = panel if isinstance(panel, str) else f"alpha {panel:g}"
        panels.append(StripPanel(label, _settled(chosen)))
    return panels, source


def _settled(options: "Options") -> "Options":
    """Fill in what a run would take if it were left open, so that a repeated command has equal panels."""
    temperature, projection = options.temperature, options.projection
    return replace(
        options,
        temperature=1.0 if temperature is None else temperature,
        projection=0.0 if projection is None else projection,
    )


def _knob_notes(
    upscaler: "Upscaler", options: "Options", panels: "list[StripPanel]", args: argparse.Namespace
) -> list[str]:
    """List what the calibration knows against the choices of the knob."""
    if not panels:
        alphas = [(value,) for value in args.strip or ()] or [options.alphas]
        return upscaler.knob_notes(options, alphas, args.preset, args.calibration)
    found: list[str] = []
    for panel in panels:
        name = panel.label if panel.label in args.strip and panel.label != "plain" else None
        found += upscaler.knob_notes(panel.options, [panel.options.alphas], name, args.calibration)
    return list(dict.fromkeys(found))


def _say_size(upscaler: "Upscaler", args: argparse.Namespace) -> str | None:
    """Say what happens to the results' size after the network; None for nothing."""
    sides = [f"a {name} of {side}" for name in ("width", "height") if (side := getattr(args, name))]
    if args.scale is not None and args.scale != upscaler.preset.scale:
        sides = [f"{args.scale:g} times the input"]
    if not sides:
        return None
    return f"the network enlarges {upscaler.preset.scale} times; Lanczos then resizes to {' and '.join(sides)}"


def with_masks(request: "Callable[..., Request]", masks: Path) -> "Callable[[Job], Request]":
    """Give every job's request the mask of its image. Raises ValueError if there is no file or folder `masks`."""
    from jaxsr.batch.jobs import find_masks
    from jaxsr.batch.request import hash_source

    mask_of = find_masks(masks)
    return lambda job: request(job, mask=hash_source(mask_of(job)))
