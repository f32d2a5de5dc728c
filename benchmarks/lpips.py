"""Measure images per second of LPIPS and DISTS: python -m benchmarks.lpips [--net alex vgg dists] [--size 128]

Our metrics, compiled, and the packages `lpips` and `DISTS_pytorch` of their authors get the same random networks and
images, in one run. They take turns of a few calls, of which the last is timed, because torch's threads run on for a
while after its last call. The median of each is reported. The packages need torch and torchvision; without them the
script says so and measures ours alone.
"""

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import machine, medians
from jaxsr.metrics.dists import dists, dists_shapes
from jaxsr.metrics.lpips import NETS, lpips, lpips_shapes

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
FIRST = 3  # calls before the timed one of a turn
DISTS = "dists"


def random_params(net: str) -> dict[str, np.ndarray]:
    """Draw parameters that keep the size of the activations. Heads are positive, like the published ones."""
    rng, params = np.random.default_rng(0), {}
    for name, shape in (dists_shapes() if net == DISTS else lpips_shapes(net)).items():
        if name.startswith(("head.", "alpha", "beta")):
            params[name] = rng.uniform(0, 0.2, shape).astype(np.float32)
        else:
            spread = np.sqrt(2 / np.prod(shape[:-1])) if len(shape) > 1 else 0.1
            params[name] = (spread * rng.standard_normal(shape)).astype(np.float32)
    return params


def native(net: str, params: dict[str, np.ndarray]) -> Run:
    """Make our metric, compiled, with its parameters on the device."""
    on_device = jax.device_put(params)
    metric = dists if net == DISTS else partial(lpips, net=net)
    compiled = jax.jit(lambda a, b, params: metric(a, b, params))
    return lambda a, b: np.asarray(compiled(jnp.asarray(a), jnp.asarray(b), on_device))


def package(net: str, params: dict[str, np.ndarray]) -> Run | None:
    """Make the package's metric, on the GPU if torch has one; None if the package is not installed."""
    warnings.simplefilter("ignore")
    try:
        import DISTS_pytorch  # pyright: ignore[reportMissingImports]  # noqa: F401
        import lpips as theirs  # pyright: ignore[reportMissingImports]
        import torch  # pyright: ignore[reportMissingImports]
        import torchvision  # pyright: ignore[reportMissingImports]  # noqa: F401
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision is for another torch
        print(f"the packages are not measured: {error}; pip install torch torchvision lpips DISTS-pytorch")
        return None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if net == DISTS:
        model, words = _random_dists(), {}
    else:
        model = theirs.LPIPS(net=net, pnet_rand=True, verbose=False)  # pyright: ignore[reportAttributeAccessIssue]
        words = {"normalize": True}
    _fill(model, params)
    model = model.eval().to(device)

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            x, y = (torch.from_numpy(image).to(device).permute(0, 3, 1, 2) for image in (a, b))
            return model(x, y, **words).reshape(-1).cpu().numpy()

    return run


def _random_dists() -> Any:
    """Make DISTS without ImageNet's weights, which its package would download."""
    import torchvision  # pyright: ignore[reportMissingImports]
    from DISTS_pytorch import DISTS as Theirs  # pyright: ignore[reportMissingImports]

    vgg16 = torchvision.models.vgg16
    torchvision.models.vgg16 = lambda **_: vgg16(weights=None)
    try:
        return Theirs()
    finally:
        torchvision.models.vgg16 = vgg16


def _fill(model: Any, params: dict[str, np.ndarray]) -> None:
    """Copy our random parameters into the package's network, by the numbers of torchvision's layers."""
    import torch  # pyright: ignore[reportMissingImports]

    for name, value in model.named_parameters():  # net.slice1.0.weight, ..., lin0.model.1.weight, ..., alpha
        part, _, end = name.rpartition(".")
        number = part.rpartition(".")[2]
        if not part:
            ours = params[end]
        elif part.startswith("lin"):
            ours = params[f"head.{part[3]}"]
        elif end == "weight":
            ours = params[f"features.{number}.kernel"].transpose(3, 2, 0, 1)
        else:
            ours = params[f"features.{number}.bias"]
        value.data = torch.from_numpy(np.ascontiguousarray(ours)).reshape(value.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", nargs="+", choices=[*NETS, DISTS], default=[*NETS, DISTS])
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=8, help="pairs in one call")
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args()
    print(machine())
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(0, 1, (args.batch, args.size, args.size, 3)).astype(np.float32) for _ in range(2))
    for net in args.net:
        params = random_params(net)
        runs = {"jaxsr": native(net, params)} | ({"package": theirs} if (theirs := package(net, params)) else {})
        values = [run(a, b) for run in runs.values()]
        np.testing.assert_allclose(values[0], values[-1], rtol=1e-3)
        times = medians({name: partial(run, a, b) for name, run in runs.items()}, args.turns, first=FIRST)
        rates = ", ".join(f"{name} {args.batch / seconds:.1f} pairs/s" for name, seconds in times.items())
        ratio = f", ratio {times['package'] / times['jaxsr']:.2f}" if "package" in times else ""
        print(f"{net}, {args.batch} pairs of {args.size}x{args.size}: {rates}{ratio}")


if __name__ == "__main__":
    main()
