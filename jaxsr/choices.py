"""The words that options take, for the library and its commands; nothing is imported that takes time."""

from typing import Literal, get_args

Sampler = Literal["ancestral", "deterministic", "heun"]
Thinning = Literal["ends", "released"]
Blend = Literal["feather", "mean"]
Precision = Literal["fp32", "bf16"]
Through = Literal["mean", "state"]
ReferenceMean = Literal["clean", "shifted"]
ReferenceVariance = Literal["posterior", "marginal"]
ForwardODE = Literal["diffusion", "inversion"]
Objective = Literal["norm", "lstsq"]
Reference = Literal["lr", "hr"]

SAMPLERS: tuple[str, ...] = get_args(Sampler)
THINNINGS: tuple[str, ...] = get_args(Thinning)
BLENDS: tuple[str, ...] = get_args(Blend)
PRECISIONS: tuple[str, ...] = get_args(Precision)
THROUGHS: tuple[str, ...] = get_args(Through)
REFERENCE_MEANS: tuple[str, ...] = get_args(ReferenceMean)
REFERENCE_VARIANCES: tuple[str, ...] = get_args(ReferenceVariance)
FORWARD_ODES: tuple[str, ...] = get_args(ForwardODE)
OBJECTIVES: tuple[str, ...] = get_args(Objective)
REFERENCES: tuple[str, ...] = get_args(Reference)
