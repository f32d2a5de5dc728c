"""Provide fixtures for the commands: the small model for `sample`, three noisy pictures for `evaluate`.

Each fixture imports jaxsr itself, so that the test run installs its type checks before that import.
"""

import pytest


@pytest.fixture
def model(small_upscalers, monkeypatch):
    """Make the sample command load the small model for any -n; all tests share one model."""
    from jaxsr.upscaling import loading

    upscaler = small_upscalers["channel"]
    monkeypatch.setattr(loading, "load", lambda name, *, accept_license: upscaler)
    return upscaler


@pytest.fixture
def exact(model, monkeypatch):
    """Replace the network of `model` with `nearest`."""
    from jaxsr.upscaling.upscaler import Upscaler
    from tests.small_model import nearest

    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: nearest)
    return model


@pytest.fixture
def command(tmp_path):
    """Return a function that runs the evaluate command on three noisy pictures and returns the exit code."""
    from jaxsr.cli import evaluate
    from tests.evaluation.pictures import folders

    folders(tmp_path)

    def run_it(*more: object, output: str = "result.json", m: str = "psnr") -> int:
        words = ("--pred", tmp_path / "sr", "--target", tmp_path / "hr", "-o", tmp_path / output, "-m", m, *more)
        return evaluate.main([str(word) for word in words])

    return run_it
