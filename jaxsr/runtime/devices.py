"""The distribution of images over all devices of all hosts. Each device runs its own images with all their candidates.

It uses `jax.shard_map` over a mesh of one axis, which JAX recommends in place of `pmap`. Each device runs the program
of a single device, so that nothing moves between devices. Values that the candidates of an image share are computed on
the device of that image. Automatic sharding would redistribute the merged (candidates x images) axis of the network.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxsr.runtime.compilation import compiler_options

AXIS = "images"


def count_devices(asked: int | str) -> int:
    """Return a number of this process's devices: `all`, or at most so many.

    Raises ValueError, naming --devices, if there are fewer.
    """
    there = jax.local_device_count()
    if asked == "all":
        return there
    if int(asked) > there:
        kind = jax.default_backend()
        raise ValueError(f"--devices: there are {there} of the kind {kind}, not {asked}; give fewer, or `all`.")
    return int(asked)


def image_mesh() -> jax.sharding.Mesh:
    """Make a mesh of one axis from all devices of all processes. The devices of a process are neighbours in it."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def replicate(mesh: jax.sharding.Mesh, tree: Any) -> Any:
    """Put arrays, which are equal in every process, on all devices."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def over_images(mesh: jax.sharding.Mesh, function: Callable[..., Any], *, common: int = 0) -> Callable[..., Any]:
    """Jit (params, *image arrays, *`common` trees) -> {name: (rows, b, ...)} with the axis b split over the devices.

    The returned callable takes the images of this process as NumPy arrays, and returns the results of all processes as
    NumPy arrays. Every call copies the last `common` arguments to all devices, unless `replicate` has put them there.
    """

    def sharded(params: Any, images: tuple, shared: tuple) -> Any:
        return function(params, *images, *shared)

    program = jax.jit(
        jax.shard_map(sharded, mesh=mesh, in_specs=(P(), P(AXIS), P()), out_specs=P(None, AXIS)),
        compiler_options=compiler_options(),
    )
    by_image = NamedSharding(mesh, P(AXIS))

    def call(params: Any, *arrays: Any) -> Any:
        images, shared = arrays[: len(arrays) - common], arrays[len(arrays) - common :]
        placed = tuple(jax.make_array_from_process_local_data(by_image, array) for array in images)
        return gather(program(params, placed, replicate(mesh, shared)))

    return call


def gather(tree: Any) -> Any:
    """Gather arrays that are split over processes, and return them whole as NumPy arrays in every process."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    return jax.tree.map(np.asarray, multihost_utils.process_allgather(tree, tiled=True))


def gather_numbers(numbers: np.ndarray) -> np.ndarray:
    """Return the numbers of every process, one row for each, in every process."""
    return np.asarray(multihost_utils.process_allgather(numbers)).reshape(jax.process_count(), -1)


def gather_bytes(data: bytes) -> list[bytes]:
    """Return the bytes of every process, in every process."""
    if jax.process_count() == 1:
        return [data]
    sizes = gather_numbers(np.array([len(data)], np.int32))[:, 0]
    buffer = np.frombuffer(data.ljust(int(sizes.max()), b"\0"), np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(buffer)).reshape(len(sizes), -1)
    return [row.tobytes()[:size] for row, size in zip(rows, sizes, strict=True)]


def broadcast(data: bytes) -> bytes:
    """Return the bytes of process 0 in every process."""
    if jax.process_count() == 1:
        return data
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    buffer = np.frombuffer(data.ljust(size, b"\0")[:size], np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(buffer)).tobytes()


def own_share(indices: list[int]) -> list[int]:
    """Return this process's part of a global batch. Its length must be a multiple of the number of processes."""
    share = len(indices) // jax.process_count()
    return indices[jax.process_index() * share : (jax.process_index() + 1) * share]
