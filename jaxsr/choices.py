"""The words that options accept, in the library and its commands. This module imports nothing that is slow to load."""

from dataclasses import dataclass
from typing import Literal, get_args

ThinningRule = Literal["ends", "quadratic", "released"]
Thinning = ThinningRule | tuple[int, ...]
"""A rule for the rows of a schedule to keep, or the rows themselves, 0-based and rising: row 0 has the least noise."""
Blend = Literal["feather", "mean"]
TileNoise = Literal["position", "fresh"]
Precision = Literal["fp32", "bf16"]
Through = Literal["mean", "state"]
ReferenceMean = Literal["clean", "shifted"]
ReferenceVariance = Literal["posterior", "marginal"]
ForwardODE = Literal["diffusion", "inversion"]
Objective = Literal["norm", "step-norm", "lstsq"]
Reference = Literal["lr", "hr"]
Metadata = Literal["keep", "minimal", "strip"]
Batch = int | Literal["auto"]
"""Inputs per call and device; `auto` takes as many as the memory holds."""
Platform = Literal["cpu", "cuda", "tpu"]
ColourFix = Literal["none", "wavelet", "adain"]

SAMPLERS: tuple[str, ...] = ("ancestral", "deterministic", "heun")
"""The built-in names of `jaxsr.diffusion.SAMPLERS`, for help texts. That table decides which names are accepted."""
THINNINGS: tuple[str, ...] = get_args(ThinningRule)
BLENDS: tuple[str, ...] = get_args(Blend)
TILE_NOISES: tuple[str, ...] = get_args(TileNoise)
LIKES: tuple[str, ...] = ("resshift", "resshift-256", "resshift-64")
PRECISIONS: tuple[str, ...] = get_args(Precision)
THROUGHS: tuple[str, ...] = get_args(Through)
REFERENCE_MEANS: tuple[str, ...] = get_args(ReferenceMean)
REFERENCE_VARIANCES: tuple[str, ...] = get_args(ReferenceVariance)
FORWARD_ODES: tuple[str, ...] = get_args(ForwardODE)
OBJECTIVES: tuple[str, ...] = get_args(Objective)
REFERENCES: tuple[str, ...] = get_args(Reference)
METADATA: tuple[str, ...] = get_args(Metadata)
PLATFORMS: tuple[str, ...] = get_args(Platform)
"""Where an exported program can run."""
COLOUR_FIXES: tuple[str, ...] = get_args(ColourFix)

MOST_SCALE = 8.0
"""The most that a result is larger than its input along a side."""
MAX_SEED = 2**32 - 1
"""The greatest seed, and the greatest number of a sample: the key of an image is made from words of 32 bits."""
_GRADIENT_WORDS = {"through": THROUGHS, "reference_mean": REFERENCE_MEANS, "reference_variance": REFERENCE_VARIANCES}


@dataclass(frozen=True)
class GradientForm:
    """The form of the KL gradient in the guidance (Eq. 11): its variable, and the Gaussian of the reference.

    Attributes:
        through: variable of the gradient: `mean`, the mean of the step; or `state`, x_t, which costs one
            vector-Jacobian product through the network per step.
        reference_mean: mean of the reference: `clean`, c_t = c; or `shifted`, c_t = c + eta_{t-1} (z_lr - c), the mean
            of (F).
        reference_variance: variance of the reference: `posterior`, Sigma_ref = Sigma_t; or `marginal`,
            Sigma_ref = kappa^2 eta_{t-1}. Both are clipped.
    Raises:
        ValueError: for an unknown word; the message begins with the field's name.
    """

    through: Through = "mean"
    reference_mean: ReferenceMean = "clean"
    reference_variance: ReferenceVariance = "posterior"

    def __post_init__(self) -> None:
        for name, words in _GRADIENT_WORDS.items():
            check_word(name, getattr(self, name), words)

    @property
    def changed(self) -> list[str]:
        """The names of the fields that differ from their defaults."""
        return [name for name, words in _GRADIENT_WORDS.items() if getattr(self, name) != words[0]]


def check_word(name: str, value: object, words: tuple[str | None, ...]) -> None:
    """Raise ValueError, naming the option and the accepted words, unless `value` is one of `words`."""
    if value not in words:
        raise ValueError(f"{name}: no {value!r}; choose one of {', '.join(word for word in words if word)}.")


DEFAULT_FORM = GradientForm()
"""The default form: the gradient with respect to the mean, with the variance of the step (Lemma 3.2.1)."""
