"""A calibration from one image: the fit to its HR reference, kept in a file for other images of the same camera.

It is the paper's Non-Reference Region: A and B of Eq. 10 and the LR scale are fitted where a reference is known, and
used where none is.
"""

from collections.abc import Mapping
from typing import Any

from jaxsr.choices import Objective
from jaxsr.guidance.calibration_file import Calibration, KnobPreset, describe_schedule
from jaxsr.guidance.guide import Scales
from jaxsr.models.presets import ModelPreset
from jaxsr.options import Options, spell_value
from jaxsr.upscaling.plan import schedule_for


def fitted_calibration(
    preset: ModelPreset,
    model: tuple[str, str],
    options: Options,
    scales: Scales,
    *,
    objective: Objective | None,
    data: Mapping[str, Any],
    seed: int,
) -> Calibration:
    """Make a calibration whose preset `fitted` holds what was fitted to the reference of one image.

    Args:
        preset: preset of the model.
        model: name of the model, and SHA-256 of its checkpoint.
        options: the resolved options of the run.
        scales: the numbers of the run, with the quality of the fit.
        objective: the rule that fitted alpha; None is `lstsq`.
        data: what was fitted, as plain JSON: hashes of the image and the reference, and the reference's place.
        seed: seed of the noise.
    Raises:
        ValueError: if alpha, slope and offset were not all fitted.
    """
    if not scales.quality or scales.hr is None or scales.offset is None:
        raise ValueError(
            "save_calibration: nothing was fitted; give a reference, and leave alpha, preset and reference_slope out."
        )
    fitted = KnobPreset(
        scale=list(scales.lr[0]),
        temperature=_per_step(options),
        projection=options.projection or 0.0,
        rule=f"{objective or 'lstsq'} objective, fitted to one reference",
        change={},
        warning="",
    )
    return Calibration(
        model=model[0],
        model_sha256=model[1],
        schedule=describe_schedule(schedule_for(preset, options)),
        sampler=options.sampler or preset.sampler,
        thinning=spell_value(options.thinning),
        precision=options.precision,
        through=options.through,
        reference_mean=options.reference_mean,
        reference_variance=options.reference_variance,
        forward_ode="diffusion",
        objective=objective or "lstsq",
        candidates=[],
        data=dict(data),
        seed=seed,
        presets={"fitted": fitted},
        reference={"slope": list(scales.hr), "offset": list(scales.offset)},
        open_loop={"fit": {name: list(numbers) for name, numbers in scales.quality.items()}},
    )


def _per_step(options: Options) -> list[float]:
    given = options.numbers("temperature") or (1.0,)
    return list(given) if len(given) > 1 else list(given) * (options.steps or 1)
