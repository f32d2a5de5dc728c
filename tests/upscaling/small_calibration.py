"""Make a calibration of the small model, with scales chosen by hand."""

from jaxsr.guidance.calibration_file import Calibration, describe_schedule
from jaxsr.options import Options
from jaxsr.upscaling.plan import schedule_for
from jaxsr.upscaling.upscaler import Upscaler


def make_calibration(upscaler: Upscaler, **changes) -> Calibration:
    schedule = describe_schedule(schedule_for(upscaler.preset, Options()))
    presets = {"vivid": {"scale": [0.3, 0.1], "rule": "by hand"}, "faithful": {"scale": [-0.1, 0.0], "rule": "by hand"}}
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
        "open_loop": {},
    }
    return Calibration(**values | changes)
