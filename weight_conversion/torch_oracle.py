"""The comparison of converted networks with the original PyTorch code, in a checkout of the user with torch installed.

This package neither contains nor downloads that code: it imports a class from the folder that the user names.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.models.vq_autoencoder import VQConfig
from weight_conversion.architecture import Config
from weight_conversion.convert import Source
from weight_conversion.tolerances import TOLERANCES
from weight_conversion.verify import Row, build, nhwc, relative_error

# The classes that the configuration files of the ResShift project name.
TARGETS = {"network": "models.unet:UNetModelSwin", "codec": "ldm.models.autoencoder:VQModelTorch"}
_SIZES = ((1, 1), (1, 2))  # in units of the smallest size that the network accepts


def verify_torch(source: Source, config: Config, settings: Mapping[str, Any], repo: Path, target: str) -> Iterator[Row]:
    """Compare the outputs of the class `target` ("module:Class" below `repo`), built with `settings`, with ours.

    The class is called as network(x, t, lq=..., mask=...), or as autoencoder.encode(x) and autoencoder.decode(z). The
    inputs are random, of the smallest size and of one size that is not square.

    Raises:
        ValueError: if torch or the class is missing, or the class does not accept the state dict; the message is one
            sentence.
    """
    network = load_target(source, settings, repo, target)
    params = source.float32(config)
    if isinstance(config, SwinUNetConfig):
        yield from _unet_rows(network, config, params)
    else:
        yield from _autoencoder_rows(network, config, params)


def load_target(source: Source, settings: Mapping[str, Any], repo: Path, target: str) -> Any:
    """Load the user's class with the weights of the file, in evaluation mode."""
    module_name, _, class_name = target.replace(":", ".").rpartition(".")
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            "--torch-repo: needs PyTorch in this environment; install it as https://pytorch.org says."
        ) from error
    sys.path.insert(0, str(repo))
    try:
        network = getattr(importlib.import_module(module_name), class_name)(**settings)
        state = {key: torch.from_numpy(_plain(tensor.read())) for key, tensor in source.state.items()}
        network.load_state_dict(state)
    except (ImportError, AttributeError, TypeError, RuntimeError) as error:
        raise ValueError(f"--torch-repo {repo}: cannot make {target} from {source.path} ({error}).") from error
    finally:
        sys.path.remove(str(repo))
    return network.eval()


def _plain(array: np.ndarray) -> np.ndarray:
    """Make a copy that torch accepts, with floats in float32."""
    return np.array(array, np.float32 if array.dtype.kind in "fV" else array.dtype)


def _call(method: Callable, *arguments: np.ndarray, **named: np.ndarray) -> np.ndarray:
    import torch  # pyright: ignore[reportMissingImports]

    with torch.no_grad():
        out = method(*map(torch.from_numpy, arguments), **{k: torch.from_numpy(v) for k, v in named.items()})
    return nhwc(np.asarray(out))


def _unet_rows(network: Any, config: SwinUNetConfig, params: Mapping[str, np.ndarray]) -> Iterator[Row]:
    rng, unit, factor = np.random.default_rng(0), config.align, 2**config.halvings
    run = jax.jit(lambda params, *inputs: build(config, params)(*inputs))
    for rows, columns in _SIZES:
        h, w = rows * unit, columns * unit
        x = rng.standard_normal((2, config.in_channels, h, w)).astype(np.float32)
        lq = rng.uniform(-1, 1, (2, config.lq_channels, factor * h, factor * w)).astype(np.float32)
        named = {"lq": lq}
        if config.cond_mask:
            named["mask"] = rng.choice([-1.0, 1.0], (2, 1, factor * h, factor * w)).astype(np.float32)
        t = np.array([0, 3])
        theirs = _call(network, x, t, **named)
        with jax.default_matmul_precision("highest"):
            inputs = [jnp.asarray(nhwc(x)), jnp.asarray(t, jnp.int32), *(jnp.asarray(nhwc(v)) for v in named.values())]
            yield Row("out", f"{h}x{w}", relative_error(run(params, *inputs), theirs), TOLERANCES["network"])


def _autoencoder_rows(network: Any, config: VQConfig, params: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """Compare encoders and decoders. The decoders get codes, which both quantise to themselves: no near-ties arise."""
    rng, table = np.random.default_rng(0), np.asarray(params["quantize.embedding.embedding"])
    encode = jax.jit(lambda params, x: build(config, params).encode(x))
    decode = jax.jit(lambda params, z: build(config, params).decode(z))
    for rows, columns in _SIZES:
        h, w = 8 * rows, 8 * columns
        x = rng.uniform(-1, 1, (1, config.in_channels, h * config.factor, w * config.factor)).astype(np.float32)
        z = table[rng.integers(config.n_embed, size=(1, h, w))].astype(np.float32)
        theirs = _call(network.encode, x), _call(network.decode, np.ascontiguousarray(np.moveaxis(z, -1, 1)))
        with jax.default_matmul_precision("highest"):
            ours = encode(params, jnp.asarray(nhwc(x))), decode(params, jnp.asarray(z))
        for name, mine, golden in zip(("encode", "decode"), ours, theirs, strict=True):
            yield Row(name, f"{h}x{w}", relative_error(mine, golden), TOLERANCES["network"])
