"""Every test runs with strict dtypes and ranks, and without a persistent compilation cache."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import pytest

os.environ["JAXSR_CACHE"] = "off"
for variable in ("JAXSR_ONEDNN", "JAX_COMPILATION_CACHE_DIR"):
    os.environ.pop(variable, None)
jax.config.update("jax_compilation_cache_dir", None)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(params=["onednn", "float32 for bfloat16", "xla"])
def way(request, monkeypatch) -> str:
    """Convolutions and products in each way that there is on a CPU."""
    from jaxsr.runtime import cpu, onednn

    if request.param == "xla":
        monkeypatch.setattr(onednn, "active", lambda: False)
    elif not onednn.active():
        pytest.skip("oneDNN is not called here: see tests/runtime/test_onednn.py")
    if request.param == "float32 for bfloat16":
        monkeypatch.setattr(cpu, "fast_bfloat16", lambda: False)
    return request.param


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; tests that want more than committed files skip without it."""
    if not SHARED.is_dir():
        pytest.skip(f"extra check: needs {SHARED.name}/ beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def small_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of small random networks, by their norm: `channel` and `group`."""
    from tests.small_model import save_small, small_preset

    folder = tmp_path_factory.mktemp("models")
    return {norm: save_small(folder / norm, small_preset(norm)) for norm in ("channel", "group")}


@pytest.fixture(scope="session")
def small_upscalers(small_checkpoints: dict[str, Path]) -> dict:
    """The small networks loaded once, so that what they compile is shared by all tests."""
    from jaxsr.upscaling.upscaler import load

    return {norm: load(path) for norm, path in small_checkpoints.items()}


@pytest.fixture(scope="module")
def pointwise(small_upscalers) -> Iterator:
    """A map of each latent value by itself in place of the network: nothing spreads, and it compiles quickly."""
    import jax.numpy as jnp

    from jaxsr.models.model import Model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "denoiser", lambda *_: lambda x, step: jnp.sin(x + 0.1 * jnp.float32(step)))
        yield replace(small_upscalers["channel"])
