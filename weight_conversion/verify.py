"""The comparison of converted networks with golden arrays: every case of a file, array by array."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxsr.models.swin_unet import SwinUNet, SwinUNetConfig
from jaxsr.models.vq_autoencoder import VQAutoencoder, VQConfig
from weight_conversion.architecture import MODULES, Config, abstract
from weight_conversion.tolerances import TOLERANCES

Arrays = Mapping[str, np.ndarray]
Params = Mapping[str, Any]
_STAGES = (*MODULES["network"], *MODULES["codec"])


class GoldenError(ValueError):
    """A golden file whose arrays do not belong to its kind or to the configuration of the sampler."""


@dataclass(frozen=True)
class Row:
    """One comparison: the array's name, its case or step, the relative error, and the largest error allowed."""

    array: str
    where: str
    error: float
    tolerance: float

    @property
    def departs(self) -> bool:
        return not self.error <= self.tolerance  # True for NaN too


def relative_error(ours: Any, golden: Any) -> float:
    """Compute max |ours - golden| / max |golden| in float64; infinite if the shapes differ."""
    a, b = np.asarray(ours, np.float64), np.asarray(golden, np.float64)
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a - b).max() / (np.abs(b).max() or 1.0)) if b.size else 0.0


def nhwc(array: np.ndarray) -> np.ndarray:
    """Convert a golden array (NCHW if it is an image) to our layout."""
    return np.moveaxis(array, -3, -1) if array.ndim >= 4 else array


def load_golden(path: Path) -> dict[str, np.ndarray]:
    """Load all arrays of a golden file, unchanged.

    Raises:
        ValueError: if the file is not an `.npz` file.
    """
    import zipfile
    import zlib

    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: is not an .npz file of golden arrays, or is damaged ({error}); check the name."
        ) from error


def build(config: Config, params: Params) -> Any:
    """Build the network with its parameters."""
    graph, state = nnx.split(abstract(config))
    leaves = [(path, leaf.replace(params[".".join(map(str, path))])) for path, leaf in nnx.to_flat_state(state)]
    return nnx.merge(graph, nnx.from_flat_state(leaves))


def verify_unet(config: SwinUNetConfig, params: Params, golden: Arrays) -> Iterator[Row]:
    """Compare every case of a `unet_*_io.npz`: the activation of every block, the output, and the input gradient."""
    for case, arrays in _cases(golden, {"x", "lq", "mask", "t", "out", "cotangent", "vjp_x"}):
        ours = _unet_case(config, params, arrays)
        for name in [*_activations(arrays), *(name for name in ("out", "vjp_x") if name in arrays)]:
            error = relative_error(ours[name], nhwc(arrays[name])) if name in ours else float("nan")
            allowed = TOLERANCES["gradient" if name == "vjp_x" else "network"]
            yield Row(name.removeprefix("act/"), case, error, allowed)


def _unet_case(config: SwinUNetConfig, params: Params, arrays: Arrays) -> dict[str, Any]:
    inputs = {name: jnp.asarray(nhwc(arrays[name])) for name in ("x", "lq", "mask") if name in arrays}
    timesteps = jnp.broadcast_to(jnp.asarray(arrays["t"], jnp.int32), inputs["x"].shape[:1])

    def forward(x: jax.Array, params: Params) -> tuple[jax.Array, dict[str, Any]]:
        network: SwinUNet = build(config, params)
        arguments = (x, timesteps, inputs["lq"], inputs.get("mask"))
        return _captured(network, network.__call__, arguments, arrays)

    @jax.jit
    def run(x: jax.Array, params: Params, cotangent: jax.Array | None) -> dict[str, Any]:
        if cotangent is None:
            out, activations = forward(x, params)
            return activations | {"out": out}
        out, vjp, activations = jax.vjp(partial(forward, params=params), x, has_aux=True)
        return activations | {"out": out, "vjp_x": vjp(cotangent)[0]}

    cotangent = jnp.asarray(nhwc(arrays["cotangent"])) if "vjp_x" in arrays else None
    with jax.default_matmul_precision("highest"):
        return run(inputs["x"], params, cotangent)


def _captured(network: nnx.Module, method: Callable, arguments: tuple, wanted: Arrays) -> tuple[Any, dict[str, Any]]:
    """Return the result of a network's method, and the activations among `wanted` by their names there (`act/...`)."""
    capture = nnx.capture(method, nnx.Intermediate, method_outputs=nnx.Intermediate)
    out, state = capture(*arguments)
    outputs = {".".join(map(str, path)): leaf.get_value()[0] for path, leaf in nnx.to_flat_state(state)}
    modules = {name: name.removeprefix("act/").partition("(")[0] for name in _activations(wanted)}
    activations = {name: _activation(outputs, module) for name, module in modules.items()}
    return out, {name: value for name, value in activations.items() if value is not None}


def _activations(arrays: Arrays) -> list[str]:
    """List the names of the activations in the order of the network, whatever their order in the file."""

    def place(name: str) -> tuple:
        parts = name.removeprefix("act/").partition("(")[0].split(".")
        stage = _STAGES.index(parts[0]) if parts[0] in _STAGES else len(_STAGES)
        numbers = [(int(part), "") if part.isdigit() else (-1, part) for part in parts[1:]]
        return stage, *numbers, (math.inf, "")  # a list of layers comes after its last layer

    return sorted((name for name in arrays if name.startswith("act/")), key=place)


def _activation(outputs: Mapping[str, Any], module: str) -> Any:
    """Return the output of a module, or of the last layer of a list of layers; None if no module has the name."""
    if module == "feature_extractor":  # in PyTorch an identity where the network uses the LR image unchanged
        return outputs.get("features")
    if f"{module}.__call__" in outputs:
        return outputs[f"{module}.__call__"]
    layers = [name.split(".") for name in outputs if name.startswith(f"{module}.") and name.endswith(".__call__")]
    depth = module.count(".") + 1
    indices = [int(parts[depth]) for parts in layers if parts[depth].isdigit() and len(parts) == depth + 2]
    return outputs[f"{module}.{max(indices)}.__call__"] if indices else None


def verify_autoencoder(config: VQConfig, params: Params, golden: Arrays) -> Iterator[Row]:
    """Compare every case of a `vq_*_io.npz`: encoder, codes, and the decoder on the stored codes and on the latent."""
    names = ("encode", "codes", "quantized", "decode", "decode_unquantized")
    for case, arrays in _cases(golden, {"x", *names}):
        ours = _autoencoder_case(config, params, arrays)
        for name in [*_activations(arrays), *(name for name in names if name in arrays)]:
            if name == "codes":
                latent = nhwc(arrays["encode"]) if "encode" in arrays else ours["encode"]
                error = code_error(params["quantize.embedding.embedding"], latent, ours[name], arrays[name])
                yield Row(name, case, error, TOLERANCES["code"])
            else:
                error = relative_error(ours[name], nhwc(arrays[name])) if name in ours else float("nan")
                yield Row(name.removeprefix("act/"), case, error, TOLERANCES["network"])


def _autoencoder_case(config: VQConfig, params: Params, arrays: Arrays) -> dict[str, Any]:
    """Compute every output from the golden array before it if the file has that array, else from our own."""

    @jax.jit
    def run(params: Params, given: dict[str, jax.Array]) -> dict[str, Any]:
        network: VQAutoencoder = build(config, params)
        encoded, encoder = _captured(network, network.encode, (given["x"],), arrays)
        latent = ({"encode": encoded} | given)["encode"]
        codes = network.quantize.indices(latent)
        quantized = network.quantize.embedding(given.get("codes", codes))
        decoded, decoder = _captured(network, network.decode, (given.get("quantized", quantized),), arrays)
        ours = {"encode": encoded, "codes": codes, "quantized": quantized, "decode": decoded}
        if "decode_unquantized" in arrays:
            ours["decode_unquantized"] = network.decode(latent, quantize=False)
        return {**decoder, **encoder, **ours}

    given = {name: jnp.asarray(nhwc(arrays[name])) for name in ("x", "encode", "quantized") if name in arrays}
    if "codes" in arrays:
        given["codes"] = jnp.asarray(arrays["codes"], jnp.int32)
    with jax.default_matmul_precision("highest"):
        return run(params, given)


def code_error(table: Any, latent: Any, ours: Any, golden: np.ndarray) -> float:
    """Compute how much the squared distances from `latent` (NHWC) to the codes `ours` and `golden` differ at most.

    The absolute difference is divided by |z|^2 + |code|^2. The result is infinite if the shapes differ or the table has
    no such code.
    """
    z, codes = np.asarray(latent, np.float64), np.asarray(table, np.float64)
    if golden.shape != z.shape[:-1] or golden.min() < 0 or golden.max() >= len(codes):
        return float("inf")
    chosen, best = codes[np.asarray(ours)], codes[golden.astype(int)]
    excess = np.square(z - chosen).sum(-1) - np.square(z - best).sum(-1)
    scale = np.square(z).sum(-1) + np.square(best).sum(-1)
    return float(np.max(np.abs(excess) / scale))


def _cases(golden: Arrays, known: set[str]) -> Iterator[tuple[str, Arrays]]:
    """Yield the name of each case and its arrays, by their names without `CASE/`. A single case may have no name."""
    cases: dict[str, dict[str, np.ndarray]] = {}
    for name, array in golden.items():
        case, rest = _split(name)
        if rest not in known and not rest.startswith("act/"):
            raise GoldenError(f"the golden file has an array {name!r} that this kind does not know; check --kind.")
        cases.setdefault(case, {})[rest] = array
    yield from cases.items()


def _split(name: str) -> tuple[str, str]:
    """Split a name into case and array. The name of a case may contain slashes."""
    before, act, module = f"/{name}".rpartition("/act/")
    case, _, rest = (before, act, act[1:] + module) if act else f"/{name}".rpartition("/")
    return case.removeprefix("/"), rest
