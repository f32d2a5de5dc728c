"""Every test runs with strict dtypes and ranks, and without a persistent compilation cache."""

import gc
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
# Tests compile with few optimisations, because a program of a test compiles for longer than it runs. These rooms and
# files compile as a user's process does: their programs run for long, or their bits must be those of such a process.
# With JAXSR_TESTS_OPTIMISED=1, all do.
OPTIMISED = {"metrics", "models", "parity", "runtime"}
OPTIMISED_FILES = {
    "test_dispersion.py",
    "test_instruments.py",
    "test_published_scores.py",
    "test_seams.py",
    "test_tiles.py",
}
QUICKLY = {"xla_cpu_use_fusion_emitters": "False"}
"""Options of the compiler that halve its time when it optimises little."""
MANY_PARTS = 12_000


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compile with few optimisations outside of OPTIMISED and OPTIMISED_FILES.

    This is no fixture, because the fixtures of a module, which compile too, come before those of a test.
    """
    everywhere = os.environ.get("JAXSR_TESTS_OPTIMISED", "0") not in ("", "0")
    optimised = everywhere or item.path.parent.name in OPTIMISED or item.path.name in OPTIMISED_FILES
    jax.config.update("jax_disable_most_optimizations", not optimised)

    from jaxsr.runtime import compilation, cpu

    users = {name: value for name, value in cpu.OPTIONS.items() if name not in QUICKLY}
    options = users if optimised else users | QUICKLY
    if options != cpu.OPTIONS:
        cpu.OPTIONS = options
        compilation.compiler_options.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def old_programs_are_dropped() -> Iterator[None]:
    """Drop all compiled programs once there are many, and keep the others out of the garbage collector's searches.

    Each program takes several parts of the address space. Linux grants a process 65,530 of them, and JAX cannot compile
    any more beyond that.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MANY_PARTS:
        jax.clear_caches()
        gc.unfreeze()
        gc.collect()
    gc.freeze()


@pytest.fixture(params=["onednn", "float32 for bfloat16", "xla"])
def way(request, monkeypatch) -> str:
    """Run the test with each implementation of convolutions and products on a CPU; return its name."""
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
    """Return the folder of reference data beside the checkout; without it, tests that use it are skipped."""
    if not SHARED.is_dir():
        pytest.skip(f"extra check: needs {SHARED.name}/ beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def small_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return checkpoints of small random networks, by their norm: `channel` and `group`."""
    from tests.small_model import save_small, small_preset

    folder = tmp_path_factory.mktemp("models")
    return {norm: save_small(folder / norm, small_preset(norm)) for norm in ("channel", "group")}


@pytest.fixture(scope="session")
def small_upscalers(small_checkpoints: dict[str, Path]) -> dict:
    """Load the small networks once, so that all tests share what they compile."""
    from jaxsr.upscaling.loading import load

    return {norm: load(path) for norm, path in small_checkpoints.items()}


@pytest.fixture(scope="module")
def pointwise(small_upscalers) -> Iterator:
    """Replace the network with a map of each latent value by itself: nothing spreads, and it compiles quickly."""
    import jax.numpy as jnp

    from jaxsr.models.model import Model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "denoiser", lambda *_: lambda x, step: jnp.sin(x + 0.1 * jnp.float32(step)))
        yield replace(small_upscalers["channel"])
