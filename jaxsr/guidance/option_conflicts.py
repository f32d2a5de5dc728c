"""The rules for contradictory guidance options: one table for the library and for every command."""

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxsr.choices import GradientForm

Spell = Callable[[str], str]
"""Writes an option's name as the user types it: `alpha_map`, or `--alpha-map` on a command line."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """The guidance options that the user gave. Each boolean says whether the option of that name was given.

    Attributes:
        alpha: its numbers; None if it was not given.
        form: the form of the gradient, with defaults for the fields that were not given.
    """

    alpha: tuple[float, ...] | None = None
    preset: bool = False
    strip: bool = False
    calibration: bool = False
    alpha_map: bool = False
    reference: bool = False
    reference_box: bool = False
    reference_mask: bool = False
    feather: bool = False
    objective: bool = False
    reference_slope: bool = False
    form: GradientForm = field(default_factory=GradientForm)

    @property
    def sources(self) -> list[str]:
        """List the names of the given options that set alpha."""
        return [name for name in ("alpha", "preset", "strip") if getattr(self, name) not in (None, False)]

    @property
    def guided(self) -> bool:
        """Whether any option guides the sampler; otherwise the plain sampler runs."""
        return self.preset or self.strip or self.reference or any(self.alpha or ())


def find_conflict(given: Given, spell: Spell = str) -> tuple[str, str] | None:
    """Find the first contradiction: (name of the option, sentence that completes "OPTION: "), or None."""
    if len(given.sources) > 1:
        first, second = given.sources[:2]
        return second, f"gives alpha, as {spell(first)} does; leave one of the two out."
    if given.calibration and not given.preset:
        return "calibration", "say which of its presets to use, such as balanced."
    if conflict := find_reference_conflict(given, spell):
        return conflict
    if given.objective and given.sources:
        return "objective", "is for an alpha that is fitted to a reference; leave alpha, preset and strip out."
    if given.form.reference_mean == "shifted" and not given.reference:
        return "reference_mean", f"needs {spell('reference')}; the shifted mean of the LR image is the LR image itself."
    if given.form.changed and not given.guided:
        return given.form.changed[0], "there is nothing that guides the sampler; give alpha, a preset or a reference."
    if given.alpha_map and not given.guided:
        return "alpha_map", "multiplies alpha, which is 0; give alpha, a preset, a strip or a reference."
    return None


def find_reference_conflict(given: Given, spell: Spell = str) -> tuple[str, str] | None:
    """Find the first contradiction among the options that say how a reference is used, as `find_conflict` does."""
    for name in ("reference_box", "reference_mask", "feather", "objective", "reference_slope"):
        if getattr(given, name) and not given.reference:
            return name, f"needs {spell('reference')}, the image that it applies to; give the reference too."
    if given.reference and given.reference_box == given.reference_mask:
        where = f"{spell('reference_box')} or {spell('reference_mask')}"
        return "reference", f"say where it lies, with either {where}."
    return None


def refuse(conflict: tuple[str, str] | None) -> None:
    """Raise ValueError for a contradiction; the message begins with the option's name."""
    if conflict:
        raise ValueError(": ".join(conflict))
