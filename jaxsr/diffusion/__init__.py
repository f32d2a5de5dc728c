"""Posterior diffusion for super-resolution: pure functions of arrays, without networks and files."""

from jaxsr.choices import GradientForm
from jaxsr.diffusion.gaussian import gaussian_kl
from jaxsr.diffusion.guidance import Guidance
from jaxsr.diffusion.sampler import (
    SAMPLERS,
    Denoiser,
    Noise,
    Sampler,
    Step,
    find_sampler,
    invert,
    normal_noise,
    sample,
    trajectory,
)
from jaxsr.diffusion.schedule import Schedule, StepTables, exponential_schedule, thin

__all__ = [
    "SAMPLERS",
    "Denoiser",
    "GradientForm",
    "Guidance",
    "Noise",
    "Sampler",
    "Schedule",
    "Step",
    "StepTables",
    "exponential_schedule",
    "find_sampler",
    "gaussian_kl",
    "invert",
    "normal_noise",
    "sample",
    "thin",
    "trajectory",
]
