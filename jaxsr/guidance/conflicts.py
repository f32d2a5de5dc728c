"""Which guidance options contradict each other: one table of rules for the library and for every command."""

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxsr.choices import GradientForm

Spell = Callable[[str], str]
"""Writes an option's name as the user gave it: `alpha_map`, or `--alpha-map` on a command line."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """The guidance options that were given. Booleans say whether the option of that name was.

    Attributes:
        alpha: the numbers; None where it was not given.
        form: the form of the gradient, with its defaults where nothing was given.
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
    form: GradientForm = field(default_factory=GradientForm)

    @property
    def sources(self) -> list[str]:
        """The names of the given options that set alpha."""
        return [name for name in ("alpha", "preset", "strip") if getattr(self, name) not in (None, False)]

    @property
    def guided(self) -> bool:
        """Whether anything guides; otherwise the plain sampler runs."""
        return self.preset or self.strip or self.reference or any(self.alpha or ())


def find_conflict(given: Given, spell: Spell = str) -> tuple[str, str] | None:
    """The first contradiction, as (name of the option, sentence that completes "OPTION: "), or None."""
    if len(given.sources) > 1:
        first, second = given.sources[:2]
        return second, f"gives alpha, as {spell(first)} does; leave one of the two out."
    if given.calibration and not given.preset:
        return "calibration", "say which of its presets, such as balanced."
    if conflict := find_reference_conflict(given, spell):
        return conflict
    if given.objective and given.sources:
        return "objective", "is for an alpha that is fitted; leave alpha, preset and strip out."
    if given.form.reference_mean == "shifted" and not given.reference:
        return "reference_mean", f"needs {spell('reference')}; the shifted mean of the LR image is the LR image itself."
    if given.form.changed and not given.guided:
        return given.form.changed[0], "there is nothing that guides; give alpha, a preset or a reference."
    if given.alpha_map and not given.guided:
        return "alpha_map", "multiplies alpha, which is 0; give alpha, a preset, a strip or a reference."
    return None


def find_reference_conflict(given: Given, spell: Spell = str) -> tuple[str, str] | None:
    """As `find_conflict`, of the options that say how a reference is used."""
    for name in ("reference_box", "reference_mask", "feather", "objective"):
        if getattr(given, name) and not given.reference:
            return name, f"needs {spell('reference')}, the image that it is about; give the reference too."
    if given.reference and given.reference_box == given.reference_mask:
        where = f"{spell('reference_box')} or {spell('reference_mask')}"
        return "reference", f"say where it lies, by either {where}."
    return None


def refuse(conflict: tuple[str, str] | None) -> None:
    """Raise ValueError for a contradiction; the message begins with the option's name."""
    if conflict:
        raise ValueError(": ".join(conflict))
