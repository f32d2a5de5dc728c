"""Test products and convolutions under `jax.shard_map`, with one operand that differs between devices."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxsr.models.convolution import convolve
from jaxsr.models.products import matmul
from jaxsr.runtime.devices import AXIS, image_mesh
from jaxsr.runtime.varying import vary_alike
from tests.calibration.fake import ROOT

OPERATIONS = {
    "matmul": (matmul, (8, 10, 12), (12, 16)),
    "matmul of few rows": (matmul, (8, 1, 12), (12, 16)),
    "matmul of a transposed": (partial(matmul, transpose_b=True), (8, 10, 12), (16, 12)),
    "convolve": (convolve, (8, 5, 4, 3), (3, 3, 3, 16)),
    "convolve of few positions": (convolve, (8, 2, 2, 3), (3, 3, 3, 16)),
    "convolve with strides": (partial(convolve, strides=(2, 2)), (8, 5, 4, 3), (3, 3, 3, 16)),
}
SPREAD = ("images", "kernel")


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def over_devices(function, specs, results):
    return jax.jit(jax.shard_map(function, mesh=image_mesh(), in_specs=specs, out_specs=results))


def assert_same_gradients(name: str, spread: str) -> None:
    """Assert that gradients on all devices equal those of the whole, with the images or the kernel's outputs split."""
    operation, shape, kernel_shape = OPERATIONS[name]
    x, kernel = normal(*shape), normal(*kernel_shape, seed=1)
    outputs = kernel_shape.index(16)
    specs = (P(AXIS), P()) if spread == "images" else (P(), P(*[None] * outputs, AXIS))
    gradients = jax.grad(lambda x, kernel: jnp.square(operation(x, kernel)).sum(), (0, 1))
    whole = jax.jit(gradients)(x, kernel)
    for ours, exact in zip(over_devices(gradients, specs, specs)(x, kernel), whole, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5 * float(jnp.abs(exact).max()))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("spread", SPREAD)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_gradient_of_what_all_devices_have_is_the_sum_of_theirs(name, spread):
    assert_same_gradients(name, spread)


@pytest.mark.slow
def test_it_is_so_on_eight_devices():
    lines = [
        "import warnings, jax",
        "from tests.runtime.test_varying import OPERATIONS, SPREAD, assert_same_gradients",
        "warnings.simplefilter('error')",
        "assert jax.device_count() == 8",
        "[assert_same_gradients(name, spread) for name in OPERATIONS for spread in SPREAD]",
    ]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("operation", "shape", "kernel_shape"),
    [(matmul, (8, 10, 12), (12, 12)), (convolve, (8, 5, 4, 3), (3, 3, 3, 3))],
    ids=["matmul", "convolve"],
)
def test_what_is_made_of_a_devices_images_is_known_to_be_its_own(operation, shape, kernel_shape):
    """Otherwise it could not be the carry of a scan."""

    def twice(x, kernel):
        return jax.lax.scan(lambda carry, _: (operation(carry, kernel), None), x, None, length=2)[0]

    x, kernel = normal(*shape), normal(*kernel_shape, seed=1) / 5
    found = over_devices(twice, (P(AXIS), P()), P(AXIS))(x, kernel)
    np.testing.assert_allclose(found, jax.jit(twice)(x, kernel), rtol=1e-5, atol=1e-5)


def test_elsewhere_nothing_is_added_to_a_program():
    x, kernel = normal(8, 10, 12), normal(12, 16)
    assert all(given is found for given, found in zip((x, kernel), vary_alike(x, kernel), strict=True))
    (equation,) = jax.make_jaxpr(matmul)(x, kernel).eqns
    assert equation.primitive.name == "custom_vjp_call"
