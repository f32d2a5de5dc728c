"""Make compilation quick: every program of the ladder runs only once or twice."""

import jax
import pytest

from tests.models.tiny import compiled


@pytest.fixture(autouse=True)
def quick_compilation(monkeypatch) -> None:
    monkeypatch.setattr(jax, "jit", compiled)
