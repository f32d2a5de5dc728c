"""Fixtures of the commands: the small model for `sample`, three noisy pictures for `evaluate`.

They import jaxsr themselves, so that the type checks of the test run are there before it.
"""

import pytest


@pytest.fixture
def model(small_upscalers, monkeypatch):
    """Any -n of the sample command loads the small model, once for all tests."""
    from jaxsr.upscaling import upscaler as upscaler_module

    upscaler = small_upscalers["channel"]
    monkeypatch.setattr(upscaler_module, "load", lambda name, *, accept_license: upscaler)
    return upscaler


@pytest.fixture
def exact(model, monkeypatch):
    """Also, `nearest` in place of its network."""
    from jaxsr.upscaling.upscaler import Upscaler
    from tests.small_model import nearest

    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: nearest)
    return model


@pytest.fixture
def command(tmp_path):
    """Runs the evaluate command on three noisy pictures with more words; gives the exit code."""
    from jaxsr.cli import evaluate
    from tests.evaluation.pictures import folders

    folders(tmp_path)

    def run_it(*more: object, output: str = "result.json", m: str = "psnr") -> int:
        words = ("--pred", tmp_path / "sr", "--target", tmp_path / "hr", "-o", tmp_path / output, "-m", m, *more)
        return evaluate.main([str(word) for word in words])

    return run_it
