"""Test that scoring says what a calibration knows against the choice of a preset."""

from tests.evaluation.test_sampled import hr, made  # noqa: F401


def test_what_a_calibration_knows_against_a_preset_is_said_once(hr, fake, capsys):  # noqa: F811
    made(hr, "--preset", "vivid")
    assert capsys.readouterr().err.count("note: preset vivid lost 3 dB") == 1
    made(hr, "--preset", "balanced", name="other.json")
    assert "note:" not in capsys.readouterr().err
