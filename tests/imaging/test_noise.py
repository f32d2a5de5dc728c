"""Test that the noise field is one lattice of numbers, whichever window, batch, program or setting reads it."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.imaging.noise import BLOCK, content_hash, field, image_key

HASH = content_hash(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
KEY = image_key(7, HASH, 0)
AT_0 = np.zeros(2, np.int32)
SMALL = (BLOCK, BLOCK, 3)


@pytest.fixture(scope="module")
def lattice() -> np.ndarray:
    return np.asarray(field(KEY, AT_0, (256, 256, 3)))


def at(y: int, x: int) -> np.ndarray:
    return np.array((y, x), np.int32)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (16, 48), (192, 192), (5, 70), (191, 1)])
def test_windows_read_the_same_lattice(lattice, y, x):
    window = field(KEY, at(y, x), (64, 32, 3))
    np.testing.assert_array_equal(window, lattice[y : y + 64, x : x + 32])


@pytest.mark.parametrize(("y", "x"), [(0, 0), (15, 31), (5, 70), (225, 201)])
def test_windows_need_not_be_whole_blocks(lattice, y, x):
    for height, width in ((1, 17), (18, 4), (31, 55)):
        window = field(KEY, at(y, x), (height, width, 3))
        np.testing.assert_array_equal(window, lattice[y : y + height, x : x + width])


@pytest.mark.parametrize(("count", "size"), [(1, 64), (3, 16), (4, 64), (8, 16)])
def test_batch_of_tiles_equals_single_tiles(lattice, count, size):
    origins = np.array([(0, 0), (48, 48), (32, 0), (176, 192), (5, 70), (191, 1), (100, 100), (0, 99)], np.int32)[
        :count
    ]
    tiles = jax.jit(jax.vmap(partial(field, shape=(size, size, 3)), (None, 0)))(KEY, origins)
    for tile, (y, x) in zip(tiles, origins.tolist(), strict=True):
        np.testing.assert_array_equal(tile, lattice[y : y + size, x : x + size])


def test_independent_of_the_program_around_it(lattice):
    """Neither the operations that use the noise nor a loop around it may change it."""

    @jax.jit
    def steps(key, origins):
        def step(total, origin):
            noise = field(key, origin, SMALL)
            return jnp.tanh(0.7 * total + noise), noise

        return jax.lax.scan(step, jnp.zeros(SMALL), origins)[1]

    for tile, (y, x) in zip(steps(KEY, jnp.stack([at(16, 32), at(3, 200)])), [(16, 32), (3, 200)], strict=True):
        np.testing.assert_array_equal(tile, lattice[y : y + BLOCK, x : x + BLOCK])


def test_independent_of_the_instructions_of_the_processor(lattice):
    """The bits must be the same without FMA, which compilers use or not depending on the surrounding operations."""
    program = f"""
import sys
import numpy as np
from jaxsr.imaging.noise import field, image_key
sys.stdout.buffer.write(np.asarray(field(image_key(7, "{HASH}", 0), np.zeros(2, np.int32), (64, 64, 3))).tobytes())
"""
    environment = os.environ | {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    without = np.frombuffer(done.stdout, np.float32).reshape(64, 64, 3)
    np.testing.assert_array_equal(without, lattice[:64, :64])


def test_a_batch_of_images_equals_single_images():
    keys = jnp.stack([image_key(1, HASH, sample) for sample in range(3)])
    batch = jax.vmap(partial(field, shape=SMALL), (0, None))(keys, jnp.asarray(at(16, 0)))
    for sample in range(3):
        np.testing.assert_array_equal(batch[sample], field(image_key(1, HASH, sample), at(16, 0), SMALL))


def test_one_program_serves_all_origins(lattice):
    programs = []

    @jax.jit
    def read(key, origin):
        programs.append(origin)
        return field(key, origin, (32, 32, 3))

    for y, x in [(0, 0), (64, 16), (3, 200)]:
        np.testing.assert_array_equal(read(KEY, at(y, x)), lattice[y : y + 32, x : x + 32])
    assert len(programs) == 1


def test_jit_equals_eager(lattice):
    with jax.disable_jit():
        eager = field(KEY, at(16, 32), SMALL)
    np.testing.assert_array_equal(eager, lattice[16:32, 32:48])


@pytest.mark.parametrize("partitionable", [False, True])
def test_independent_of_the_partitionable_setting(lattice, partitionable):
    with jax.threefry_partitionable(partitionable):
        key = image_key(7, HASH, 0)
        reference = jax.random.normal(key, (4,))
        np.testing.assert_array_equal(field(key, at(16, 32), (32, 16, 3)), lattice[16:48, 32:48])
    # The setting takes effect: it changes what jax.random.normal gives.
    with jax.threefry_partitionable(not partitionable):
        assert not np.array_equal(reference, jax.random.normal(key, (4,)))


def test_values_are_threefry_in_counter_mode(lattice):
    """The oracle is the published counter mode, key by key, and the normal quantile of the standard library."""
    from statistics import NormalDist

    block = jax.random.fold_in(jax.random.fold_in(KEY, 2), 5)
    for counter in (0, 1, 383):
        words = np.asarray(jax.random.key_data(jax.random.fold_in(block, counter)))
        expected = [NormalDist().inv_cdf(((int(word) >> 9) + 0.5) / 2**23) for word in words]
        flat = lattice[32:48, 80:96].ravel()[2 * counter : 2 * counter + 2]
        np.testing.assert_allclose(flat, expected, rtol=2e-6, atol=1e-6)


def test_moments_and_tails_are_gaussian(lattice):
    n = lattice.size
    assert abs(lattice.mean()) < 4 / n**0.5
    assert abs(lattice.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((lattice**4).mean() - 3) < 4 * (96 / n) ** 0.5
    assert np.isfinite(lattice).all()
    assert abs((np.abs(lattice) > 2).mean() - 0.0455) < 4 * (0.0455 / n) ** 0.5


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the absolute standard score of the mean product, about |N(0, 1)| for independent standard Gaussians."""
    return abs(float((a * b).mean() * a.size**0.5))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_are_independent(lattice, axis):
    values = np.moveaxis(lattice, axis, 0)
    assert correlation(values[1:], values[:-1]) < 4


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbours_across_block_borders_are_independent(lattice, axis):
    values = np.moveaxis(lattice, axis, 0)
    assert correlation(values[BLOCK::BLOCK], values[BLOCK - 1 : -1 : BLOCK]) < 4
    # Compare the same place in neighbouring blocks, and in blocks mirrored about the diagonal.
    assert correlation(values[BLOCK:], values[:-BLOCK]) < 4
    off_diagonal = lattice[:BLOCK, BLOCK : 2 * BLOCK], lattice[BLOCK : 2 * BLOCK, :BLOCK]
    assert correlation(*off_diagonal) < 4


def test_another_seed_sample_hash_or_step_gives_an_independent_field():
    other = content_hash(np.arange(12, dtype=np.uint8).reshape(2, 2, 3)[::-1])
    last_bit = HASH[:-1] + ("0" if HASH[-1] != "0" else "1")
    keys = [
        KEY,
        image_key(8, HASH, 0),
        image_key(2**31 + 7, HASH, 0),
        image_key(2**32 - 1, HASH, 0),
        image_key(7, HASH, 1),
        image_key(7, HASH, 2**32 - 1),
        image_key(7, other, 0),
        image_key(7, last_bit, 0),
        jax.random.fold_in(KEY, 0),
        jax.random.fold_in(KEY, 1),
    ]
    fields = [np.asarray(field(key, AT_0, (32, 32, 3))) for key in keys]
    for i, a in enumerate(fields):
        for b in fields[:i]:
            assert correlation(a, b) < 4.5


@pytest.mark.parametrize("change", ["dtype", "shape", "value"])
def test_content_hash_sees(change):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    changed = {"dtype": pixels.astype(np.int8), "shape": pixels.reshape(4, 2, 3), "value": pixels + np.uint8(1)}[change]
    assert content_hash(changed) != content_hash(pixels)


def test_content_hash_ignores_layout_and_byte_order():
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 4, 3)
    assert len(content_hash(pixels)) == 64
    assert content_hash(np.asfortranarray(pixels)) == content_hash(pixels)
    assert content_hash(pixels.astype(">u2")) == content_hash(pixels)


@pytest.mark.parametrize("shape", [(16, 0, 3), (0, 16, 3)])
def test_refuses_empty_shapes(shape):
    with pytest.raises(ValueError, match="must be at least 1"):
        field(KEY, AT_0, shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, HASH, 0), "seed must be"),
        ((2**32, HASH, 0), "seed must be"),
        ((0, HASH, -1), "sample must be"),
        ((0, HASH[:-2], 0), "content must be"),
        ((0, "x" * 64, 0), "content must be"),
    ],
)
def test_refuses_keys_that_would_not_be_distinct(arguments, message):
    with pytest.raises(ValueError, match=message):
        image_key(*arguments)
