"""Test that guidance which does not fit the image or contradicts itself is refused in one sentence."""

import numpy as np
import pytest

from jaxsr.guidance.guide import Guide
from jaxsr.options import Options
from tests.guidance.parrots import HR, LEFT, LR, RGB

REFUSED = {
    "map size": ({"alpha": 0.1, "alpha_map": np.ones((4, 5))}, "^alpha_map: must be 40x32 .* but is 5x4"),
    "map shape": ({"alpha": 0.1, "alpha_map": LR}, "^alpha_map: must be .h, w."),
    "map values": ({"alpha": 0.1, "alpha_map": np.full((32, 40), np.inf)}, "^alpha_map: .* not finite"),
    "map alone": ({"alpha_map": np.ones((32, 40))}, "^alpha_map: multiplies alpha, which is 0"),
    "through alone": ({"through": "state"}, "^through: there is nothing that guides"),
    "mean of LR": ({"reference_mean": "shifted", "alpha": 0.1}, "^reference_mean: needs reference"),
    "variance alone": ({"reference_variance": "marginal"}, "^reference_variance: there is nothing"),
    "box alone": ({"reference_box": LEFT}, "^reference_box: .* give the reference too"),
    "mask alone": ({"reference_mask": np.ones((32, 40))}, "^reference_mask: .* give the reference too"),
    "feather alone": ({"feather": 3}, "^feather: .* give the reference too"),
    "objective alone": ({"objective": "norm"}, "^objective: .* give the reference too"),
    "objective and alpha": (
        {"objective": "norm", "alpha": 0.1, "reference": HR[:, :80], "reference_box": LEFT},
        "^objective: is for an alpha that is fitted",
    ),
    "variance and fit": (
        {"reference_variance": "marginal", "reference": HR[:, :80], "reference_box": LEFT},
        "^reference_variance: has no effect with a fitted reference, since the fit rescales it",
    ),
    "number of alphas": ({"alpha": (0.1, 0.1, 0.1)}, "^alpha: must be one number or 2, one per step, got 3"),
    "no preset": ({"calibration": "x.json"}, "^calibration: say which of its presets"),
    "no file": ({"preset": "vivid"}, r"^calibration: there is no .*calibration\*\.json; make one"),
    "no such file": ({"preset": "vivid", "calibration": "x.json"}, r"^calibration: there is no x\.json; check"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_one_sentence(small_upscalers, case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        small_upscalers["channel"].upscale(LR, **options)


def test_a_strip_and_an_alpha_are_refused(small_upscalers):
    out = np.empty((128, 160, 2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"^strip: gives alpha, as alpha does"):
        small_upscalers["channel"].enlarge(RGB, out, Options(alpha=0.1), guide=Guide(strip=(0.1, 0.2)), seed=0)
