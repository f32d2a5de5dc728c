"""Gather the keyword arguments that describe a gradient's form."""

from typing import Any

from jaxsr.choices import GradientForm

FORM = ("through", "reference_mean", "reference_variance")


def with_form(words: dict[str, Any]) -> dict[str, Any]:
    """Return the same keyword arguments, with those of the form as one `form`; without any, add none."""
    form = {name: value for name, value in words.items() if name in FORM}
    rest = {name: value for name, value in words.items() if name not in FORM}
    return rest | ({"form": GradientForm(**form)} if form else {})
