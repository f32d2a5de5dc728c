"""Test the words that options choose from."""

from jaxsr import choices, diffusion
from jaxsr.cli import study
from jaxsr.imaging import tiling
from jaxsr.models.model import DTYPES
from jaxsr.numerics.instruments import INSTRUMENTS


def test_the_words_are_those_of_the_modules_that_they_choose_from():
    assert set(choices.SAMPLERS) == set(diffusion.SAMPLERS)
    assert set(choices.BLENDS) == set(tiling.BLENDS)
    assert set(choices.PRECISIONS) == set(DTYPES)
    assert tuple(INSTRUMENTS) == study.NAMES
