"""Make a calibration of the small model, with scales chosen by hand."""

from jaxsr.guidance.calibration_file import Calibration, describe_schedule
from jaxsr.options import Options
from jaxsr.upscaling.plan import schedule_for
from jaxsr.upscaling.upscaler import Upscaler

BY_HAND = {"temperature": [1.0, 1.0], "projection": 0.0, "rule": "by hand", "change": {}, "warning": ""}


def make_calibration(upscaler: Upscaler, **changes) -> Calibration:
    schedule = describe_schedule(schedule_for(upscaler.preset, Options()))
    scales = {"vivid": [0.3, 0.1], "faithful": [-0.1, 0.0], "fitted": [0.2, 0.0]}
    presets = {name: {"scale": scale, **BY_HAND} for name, scale in scales.items()}
    values = {
        "model": "small",
        "model_sha256": upscaler.sha256,
        "schedule": schedule,
        "sampler": "ancestral",
        "thinning": "ends",
        "precision": "fp32",
        "through": "mean",
        "reference_mean": "clean",
        "reference_variance": "marginal",
        "forward_ode": "diffusion",
        "objective": "norm",
        "candidates": [0.0, 0.1],
        "data": {},
        "seed": 0,
        "presets": presets,
        "reference": {"slope": [-0.5, -0.25], "offset": [0.0, 0.125]},
        "open_loop": {},
    }
    return Calibration(**values | changes)
