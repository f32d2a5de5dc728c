"""The rival's calls for `bench_network`: networks in PyTorch with our parameters, stage by stage.

float32 means float32 (no TF32), as in jaxsr; bfloat16 is autocast. Arrays come in our layout, NHWC. They lie on the
device in channels-last memory before the clock starts, and each call waits for the device. Only functions import torch
here, besides the three modules of the networks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxsr.diffusion import Schedule
from jaxsr.models.presets import ModelPreset, PixelCodecConfig
from jaxsr.models.swin_unet import SwinUNetConfig
from jaxsr.models.vq_autoencoder import VQConfig
from jaxsr.torch_files.reader import Tensor as StoredTensor
from weight_conversion.architecture import derived_buffers
from weight_conversion.convert import PARTS, Source
from weight_conversion.settings import released_settings
from weight_conversion.torch_oracle import TARGETS, load_target

Tensor = Any  # torch.Tensor, if torch is installed


@dataclass(frozen=True)
class Rival:
    """A network and a codec in PyTorch: network(x, t, lq=...), encode(image), decode(latent), all NCHW.

    `fit` prepares the network for latents of a height and a width.
    """

    preset: ModelPreset
    network: Any
    codec: Any
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    fit: Callable[[int, int], None]
    device: str

    def predict(self, x: Tensor, t: Tensor, lq: Tensor, z_lr: Tensor) -> Tensor:
        """Predict x_0 (not clipped)."""
        out = self.network(x, t, lq=lq)
        return z_lr + out if self.preset.prediction == "residual" else out

    def sample(self, lr: Tensor, schedule: Schedule, noise: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Encode the enlarged LR image, run the chain (`diffusion.sample`, ancestral), decode.

        `noise(k, z)` is standard normal, of z's shape: k = 0 starts the chain, k = 1..T belongs to the k-th step taken.
        """
        import torch  # pyright: ignore[reportMissingImports]
        from torch.nn.functional import interpolate  # pyright: ignore[reportMissingImports]

        scale, deviations = self.preset.scale, np.sqrt(schedule.variance)
        z = self.encode(interpolate(lr, scale_factor=float(scale), mode="bicubic") if scale > 1 else lr)
        x = z + float(schedule.kappa * schedule.eta[-1] ** 0.5) * noise(0, z)
        for k, i in enumerate(reversed(range(schedule.steps)), start=1):
            t = torch.full((len(x),), int(schedule.timestep_map[i]), device=x.device)
            x0_hat = self.predict(x * float(schedule.input_scale[i]), t, lr, z)
            x0_hat = x0_hat.clamp(-1, 1) if self.preset.clip_x0 else x0_hat
            mean = float(schedule.coef_x[i]) * x + float(schedule.coef_x0[i]) * x0_hat
            x = mean + float(deviations[i]) * noise(k, z)
        return self.decode(x)


def make(preset: ModelPreset, params: Mapping[str, np.ndarray]) -> Rival:
    """Make the rival with our flat parameters, on the GPU if torch has one."""
    import torch  # pyright: ignore[reportMissingImports]

    from benchmarks.rival_unet import UNet
    from benchmarks.rival_vq import PixelCodec, VQAutoencoder

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    codec = preset.codec
    assert isinstance(preset.network, SwinUNetConfig)
    parts = {"network": UNet(preset.network)}
    parts["codec"] = PixelCodec(codec.factor) if isinstance(codec, PixelCodecConfig) else VQAutoencoder(codec)
    for part, module in parts.items():
        _fill(module, {name.removeprefix(f"{part}."): v for name, v in params.items() if name.startswith(f"{part}.")})
    return _placed(preset, **parts, fit=parts["network"].fit)


def _placed(preset: ModelPreset, network: Any, codec: Any, fit: Callable[[int, int], None]) -> Rival:
    """Move both parts to the device, in channels-last memory, and make the rival of them."""
    import torch  # pyright: ignore[reportMissingImports]

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, codec = (m.eval().to(device=device, memory_format=torch.channels_last) for m in (network, codec))
    return Rival(preset, network, codec, codec.encode, codec.decode, fit, device)


def _fill(module: Any, params: Mapping[str, np.ndarray]) -> None:
    """Copy our parameters into the module, whose attributes have our names. All names must match."""
    import torch  # pyright: ignore[reportMissingImports]

    words = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
    shapes, state = {key: tensor.shape for key, tensor in module.state_dict().items()}, {}
    for name, value in params.items():
        owner, _, last = name.rpartition(".")
        key = f"{owner}.{words.get(last, last)}"
        turned = np.moveaxis(value, (-1, -2), (0, 1)) if last == "kernel" else value  # HWIO -> OIHW, IO -> OI
        state[key] = torch.from_numpy(np.array(turned, np.float32)).reshape(shapes.get(key, turned.shape))
    module.load_state_dict(state)


def compiled(rival: Rival, mode: str) -> Rival:
    """Make the rival run through torch.compile, for one set of shapes. Its first call compiles.

    Earlier compilations are dropped: after some shapes, torch.compile would use dynamic shapes, and later not compile.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.compiler.reset()
    how = {"mode": mode, "dynamic": False}
    parts = {name: torch.compile(getattr(rival, name), **how) for name in ("network", "encode", "decode")}
    return replace(rival, **parts)


def original(rival: Rival, repo: Path) -> Rival:
    """Make a rival of the networks in the user's own checkout of ResShift, with the rival's parameters.

    Raises:
        ValueError: if torch or a class is missing, a class does not fit, or the preset has no VQ autoencoder.
    """
    if not repo.is_dir():
        raise ValueError(f"--torch-repo: {repo} is not a folder; give your checkout of ResShift.")
    if not isinstance(rival.preset.codec, VQConfig):
        raise ValueError(f"--torch-repo: the original has no {rival.preset.name}; choose a released model.")
    parts, configs = {}, {"network": rival.preset.network, "codec": rival.preset.codec}
    for part in PARTS:
        arrays = {key: tensor.cpu().numpy() for key, tensor in getattr(rival, part).state_dict().items()}
        arrays |= derived_buffers(configs[part])
        state = {k: StoredTensor(v.shape, v.dtype, lambda v=v: v) for k, v in arrays.items()}
        settings = released_settings(configs[part])
        parts[part] = load_target(Source(repo, part, state), settings, repo, TARGETS[part])
    return _placed(rival.preset, **parts, fit=lambda height, width: None)


def prepare(
    rival: Rival, stage: str, inputs: Mapping[str, np.ndarray], schedule: Schedule | None, dtype: str
) -> Callable[[], Tensor]:
    """Make a call that runs one stage on its inputs: `x`, `t` and `lr`, or `image`, `latent` or `lr`."""
    import torch  # pyright: ignore[reportMissingImports]

    given = {name: _tensor(value, rival.device) for name, value in inputs.items()}
    if "lr" in given:
        rival.fit(*(n * rival.preset.scale // rival.preset.latent_factor for n in given["lr"].shape[2:]))

    def work() -> Tensor:
        if schedule is not None:
            return rival.sample(given["lr"], schedule, lambda k, z: torch.randn_like(z))
        if stage == "unet":
            return rival.predict(given["x"], given["t"], given["lr"], given["x"])
        return rival.encode(given["image"]) if stage == "encode" else rival.decode(given["latent"])

    def call() -> Tensor:
        # Autocast keeps the weights that it cast until its context ends.
        with torch.no_grad(), torch.autocast(rival.device, torch.bfloat16, enabled=dtype == "bfloat16"):
            out = work()
        if rival.device == "cuda":
            torch.cuda.synchronize()
        return out

    return call


def start(
    rival: Rival, stage: str, inputs: Mapping[str, np.ndarray], schedule: Schedule | None, dtype: str
) -> tuple[Callable[[], Tensor], float | None]:
    """Prepare a call, as `prepare` does, and measure its memory on a GPU.

    Returns the call, and the most bytes that PyTorch had allocated in a call, after one that compiles; None on a CPU.
    """
    import torch  # pyright: ignore[reportMissingImports]

    call = prepare(rival, stage, inputs, schedule, dtype)
    if rival.device != "cuda":
        return call, None
    call()
    torch.cuda.reset_peak_memory_stats()
    call()
    return call, float(torch.cuda.max_memory_allocated())


def _tensor(array: np.ndarray, device: Any) -> Tensor:
    import torch  # pyright: ignore[reportMissingImports]

    if array.ndim < 4:
        return torch.from_numpy(array).to(device)
    return torch.from_numpy(array).permute(0, 3, 1, 2).to(device, memory_format=torch.channels_last)


def describe() -> str:
    """Describe PyTorch's version and device in one line."""
    import torch  # pyright: ignore[reportMissingImports]

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return f"PyTorch {torch.__version__} on {device}"
