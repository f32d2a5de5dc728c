"""Provide the small upscaler, as it is and with a network whose results are known exactly."""

import pytest


@pytest.fixture(scope="module")
def channel(small_upscalers):
    return small_upscalers["channel"]


@pytest.fixture
def exact(channel, monkeypatch):
    """Return the upscaler with `nearest` in place of its network."""
    from jaxsr.upscaling.upscaler import Upscaler
    from tests.small_model import nearest

    monkeypatch.setattr(Upscaler, "compiled", lambda self, options, *_: nearest)
    return channel
