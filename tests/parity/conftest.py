"""Every program of the ladder runs once or twice: what it costs is its compilation."""

import jax
import pytest

from tests.models.tiny import compiled


@pytest.fixture(autouse=True)
def quick_compilation(monkeypatch) -> None:
    monkeypatch.setattr(jax, "jit", compiled)
