"""Images over all devices of all hosts: each device runs its own images with all their candidates.

`jax.shard_map` over a mesh of one axis, which is what JAX recommends in place of `pmap`: the program of a device is
that of one device alone, so nothing moves between devices, and what the candidates of an image share is computed
where they are. Under automatic sharding the merged (candidates x images) axis of the network would be redistributed.
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


def image_mesh() -> jax.sharding.Mesh:
    """All devices of all processes in one axis, those of a process side by side."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def replicate(mesh: jax.sharding.Mesh, tree: Any) -> Any:
    """Equal arrays of every process, on all devices."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def over_images(mesh: jax.sharding.Mesh, function: Callable[..., Any], *, common: int = 0) -> Callable[..., Any]:
    """Jit (params, *image arrays, *`common` trees) -> {name: (rows, b, ...)} with the axis b split over the devices.

    The returned callable takes this process's images, as NumPy arrays, and gives all processes' results, as NumPy.
    What is common goes to all devices with every call, unless `replicate` has put it there.
    """

    def sharded(params: Any, images: tuple, others: tuple) -> Any:
        return function(params, *images, *others)

    program = jax.jit(
        jax.shard_map(sharded, mesh=mesh, in_specs=(P(), P(AXIS), P()), out_specs=P(None, AXIS)),
        compiler_options=compiler_options(),
    )
    by_image = NamedSharding(mesh, P(AXIS))

    def call(params: Any, *arrays: Any) -> Any:
        images, others = arrays[: len(arrays) - common], arrays[len(arrays) - common :]
        placed = tuple(jax.make_array_from_process_local_data(by_image, array) for array in images)
        return gather(program(params, placed, replicate(mesh, others)))

    return call


def gather(tree: Any) -> Any:
    """The whole of arrays that are split over processes, as NumPy arrays on each of them."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    return jax.tree.map(np.asarray, multihost_utils.process_allgather(tree, tiled=True))


def broadcast(data: bytes) -> bytes:
    """What process 0 has, on every process."""
    if jax.process_count() == 1:
        return data
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    buffer = np.frombuffer(data.ljust(size, b"\0")[:size], np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(buffer)).tobytes()


def own_share(indices: list[int]) -> list[int]:
    """This process's part of a global batch, whose length is a multiple of the number of processes."""
    share = len(indices) // jax.process_count()
    return indices[jax.process_index() * share : (jax.process_index() + 1) * share]
