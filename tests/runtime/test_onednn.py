"""Test oneDNN's operations against XLA's own, and when they are called."""

import platform
import re
import subprocess
import sys
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jaxsr.models.convolution import convolve
from jaxsr.runtime import cpu, onednn
from jaxsr.runtime.devices import image_mesh, over_images

RELEASE = tuple(map(int, re.findall(r"\d+", version("jaxlib"))[:2]))
ONE, NONE = ((1, 1), (1, 1)), ((0, 0), (0, 0))


@pytest.fixture(autouse=True)
def asked_anew():
    onednn.usable.cache_clear()
    yield
    onednn.usable.cache_clear()


@pytest.fixture
def here() -> None:
    if not onednn.active():
        pytest.skip("oneDNN is called on one CPU device, by a jaxlib of x86-64 Linux that was tested")


def test_it_is_called_on_linux_by_the_jaxlibs_that_were_tested():
    if jax.default_backend() != "cpu" or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("another device or system")
    if onednn.TESTED[1] < RELEASE:
        pytest.skip(f"jaxlib {version('jaxlib')} is newer than those tested: try it, then put it into onednn.TESTED")
    assert onednn.active()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (platform, "system", "Darwin"),
        (platform, "machine", "aarch64"),
        (onednn, "version", "0.9.2"),
        (onednn, "version", "99.1.0"),
        (jax, "default_backend", "gpu"),
        (jax, "device_count", 2),
    ],
)
def test_it_is_not_called_elsewhere(monkeypatch, where, name, value):
    onednn.usable.cache_clear()
    monkeypatch.setattr(where, name, lambda *_: value)
    assert not onednn.active()


@pytest.mark.parametrize("value", ["off", ""])
@pytest.mark.usefixtures("here")
def test_it_can_be_turned_off(monkeypatch, value):
    monkeypatch.setenv("JAXSR_ONEDNN", value)
    text = jax.jit(lambda x, k: convolve(x, k)).lower(jnp.ones((1, 16, 16, 4)), jnp.ones((3, 3, 4, 4))).as_text()
    assert ("__onednn$convolution" in text) == (value != "off")


KEEP = 'jax.config.update("jax_compilation_cache_dir", sys.argv[1])'
CALL = 'calls = "__onednn$" in jax.jit(function).lower(x, x).compile().as_text()'
OFF = 'jax.config.update("jax_compilation_cache_dir", None)'


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("lines", "calls", "kept"),
    [
        ([KEEP, CALL], False, True),
        ([KEEP, "jax.jit(jnp.sin)(1.0)", OFF, CALL], True, True),  # JAX itself would keep the cache open here
        ([CALL, KEEP, "jax.jit(function, inline=True).lower(x, x).compile()", CALL], True, False),  # traced before KEEP
        ([KEEP, 'jax.config.update("jax_enable_compilation_cache", False)', CALL], True, False),
    ],
)
def test_a_process_that_calls_it_keeps_no_programs(tmp_path, lines, calls, kept):
    head = """import sys, warnings
import jax, jax.numpy as jnp
warnings.simplefilter("error")  # JAX warns where it cannot write a program
from jaxsr.models.products import matmul
for name in ("min_compile_time_secs", "min_entry_size_bytes"):
    jax.config.update("jax_persistent_cache_" + name, 0)
function, x = lambda a, b: jnp.tanh(matmul(a, b)), jnp.ones((64, 64))
"""
    program = head + "\n".join(lines) + "\nsys.exit(10 + calls)"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (10 + calls, "")
    assert bool(list(tmp_path.glob("jit_*"))) == kept


def refuse(*_):
    raise jax.errors.JaxRuntimeError("UNIMPLEMENTED: no such custom call")


@pytest.mark.parametrize("call", [refuse, lambda name, config, shape, dtype: lambda *_: jnp.zeros(shape, dtype)])
def test_it_is_not_called_by_a_jaxlib_that_lacks_it_or_leaves_the_result_as_it_was(monkeypatch, call):
    before = jax.config.values["jax_enable_compilation_cache"]
    try:
        jax.config.update("jax_enable_compilation_cache", True)
        onednn.usable.cache_clear()
        monkeypatch.setattr(onednn, "_call", call)
        assert not onednn.usable()
        assert jax.config.values["jax_enable_compilation_cache"]  # programs may be kept as before
    finally:
        jax.config.update("jax_enable_compilation_cache", before)


@pytest.mark.usefixtures("here")
def test_it_can_be_tried_while_a_program_is_traced():
    onednn.usable.cache_clear()
    assert float(jax.jit(lambda x: x + float(onednn.usable()))(1.0)) == 2


def normal(*shape: int, seed: int = 0, dtype=jnp.float32) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def plain(x, kernel, strides=(1, 1), padding=ONE):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def assert_near(ours, exact):
    """Assert equality up to the order of sums, and in bfloat16 up to one rounding of the result."""
    tolerance = 1e-5 if ours.dtype == jnp.float32 else 2**-8
    error = jnp.abs(ours.astype(jnp.float32) - exact).max()
    assert error <= tolerance * jnp.abs(exact).max(), float(error)


DTYPES = [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.skipif(not cpu.fast_bfloat16(), reason="slow"))]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [
        (3, (1, 1), ONE),
        (3, (2, 2), ONE),
        (3, (2, 2), ((0, 1), (0, 1))),
        (2, (1, 1), ((0, 1), (1, 0))),
        (1, (2, 1), ONE),
    ],
)
@pytest.mark.parametrize("channels", [(3, 5), (32, 48)])
def test_convolutions(dtype, size, strides, padding, channels):
    x, kernel = normal(2, 8, 6, channels[0], dtype=dtype), normal(size, size, *channels, seed=1, dtype=dtype)
    program = jax.jit(lambda x, kernel: onednn.convolve(x, kernel, strides, padding)).lower(x, kernel).compile()
    assert "__onednn$convolution" in program.as_text()
    assert_near(program(x, kernel), plain(x.astype(jnp.float32), kernel.astype(jnp.float32), strides, padding))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("result", [jnp.float32, None])
@pytest.mark.parametrize(("lead", "shared"), [((), True), ((2,), True), ((2, 3), True), ((2,), False), ((2, 3), False)])
@pytest.mark.parametrize("transposed", [True, False])
def test_products(dtype, result, lead, shared, transposed):
    a, b = normal(*lead, 5, 16, dtype=dtype), normal(*(() if shared else lead), 16, 7, seed=1, dtype=dtype)
    given = b.mT if transposed else b
    ours = jax.jit(lambda a, b: onednn.matmul(a, b, transposed, result or dtype))(a, given)
    assert ours.dtype == (result or dtype)
    assert_near(ours, jnp.matmul(a.astype(jnp.float32), b.astype(jnp.float32)))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("pairs", [(2, 3), (2,), ()])
@pytest.mark.parametrize("nested", [True, False])
def test_vmap_of_products(axes, pairs, nested):
    def given(x, axis):
        return x if axis == 0 else x[0]

    def mapped(function):
        return jax.vmap(lambda a, b: jax.vmap(function, (0, None))(a, b) if nested else function(a, b), axes)

    a, b = normal(4, *((6,) if nested else ()), *pairs, 5, 16), normal(4, *pairs, 16, 7, seed=1)
    arguments = given(a, axes[0]), given(b, axes[1])
    assert_near(jax.jit(mapped(onednn.matmul))(*arguments), mapped(jnp.matmul)(*arguments))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_vmap_of_convolutions(axes):
    x, kernel = normal(4, 2, 8, 6, 16), normal(4, 3, 3, 16, 8, seed=1)
    arguments = tuple(value if axis == 0 else value[0] for value, axis in zip((x, kernel), axes, strict=True))
    ours = jax.vmap(lambda x, kernel: onednn.convolve(x, kernel, (1, 1), ONE), axes)
    assert_near(jax.jit(ours)(*arguments), jax.vmap(plain, axes)(*arguments))


@pytest.mark.usefixtures("here")
def test_images_that_are_spread_over_the_device():
    x, kernel = normal(2, 8, 6, 16), normal(3, 3, 16, 8, seed=1)
    call = over_images(image_mesh(), lambda kernel, x: {"y": onednn.convolve(x, kernel, (1, 1), ONE)[None]})
    assert_near(jnp.asarray(call(kernel, np.asarray(x))["y"][0]), plain(x, kernel))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: onednn.matmul(jnp.ones((2, 3), jnp.int32), jnp.ones((3, 2), jnp.int32)),
        lambda: onednn.matmul(jnp.ones((2, 3)), jnp.ones((3, 2)), dtype=jnp.bfloat16),
        lambda: onednn.convolve(jnp.ones((1, 4, 4, 3)), jnp.ones((1, 1, 3, 3)), (1, 1), ((0, -1), (0, 0))),
        lambda: onednn.matmul(jnp.ones((2, 3)), jnp.ones((4, 2))),
        lambda: onednn.matmul(jnp.ones((2, 3)), jnp.ones((3, 2)), transpose_b=True),
        lambda: onednn.matmul(jnp.ones((2, 3)), jnp.ones((3, 2), jnp.bfloat16)),
        lambda: onednn.matmul(jnp.ones((2, 2, 3)), jnp.ones((4, 3, 2))),
        lambda: onednn.convolve(jnp.ones((1, 4, 4, 3)), jnp.ones((1, 1, 2, 3)), (1, 1), ONE),
        lambda: onednn.convolve(jnp.ones((1, 4, 4, 3)), jnp.ones((1, 1, 3, 3), jnp.bfloat16), (1, 1), ONE),
    ],
)
def test_what_does_not_fit_is_refused_and_does_not_end_the_process(wrong):
    with pytest.raises((ValueError, TypeCheckError), match=r"do not fit|Float"):
        jax.eval_shape(wrong)
