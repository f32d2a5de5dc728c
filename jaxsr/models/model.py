"""A model: a preset with its networks split into (graph, parameters), so that everything is a pure function of both.

Parameters are one flat dict of arrays under dotted names (`network.input_blocks.0.0.kernel`): the currency of
checkpoints, optimisers and conversion alike.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from jaxsr.diffusion import Denoiser, Schedule
from jaxsr.imaging.resize import upsample_bicubic
from jaxsr.models.layers import OneKey
from jaxsr.models.pixel_codec import pixel_shuffle, pixel_unshuffle
from jaxsr.models.presets import ModelPreset, PixelCodecConfig
from jaxsr.models.swin_unet import SwinUNet
from jaxsr.models.vq_autoencoder import VQAutoencoder, VQConfig
from jaxsr.runtime.cpu import product_dtype

DTYPES = {"fp32": jnp.float32, "bf16": jnp.bfloat16}
Params = Mapping[str, Array]
Image = Float[Array, "b h w 3"]


@dataclass(frozen=True)
class Model:
    """The pure functions of one preset at one compute dtype; holds no weights.

    `remat`: a gradient through the network computes its blocks again, in place of keeping what is inside of them.
    """

    preset: ModelPreset
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @property
    @lru_cache(maxsize=8)  # noqa: B019  # shared by equal models, which hold no weights
    def _abstract(self) -> dict[str, nnx.Module]:
        """The networks with shapes in place of arrays: nothing is allocated."""
        preset, parts, kw = self.preset, {}, {"rngs": OneKey(), "dtype": self.dtype}
        parts["network"] = nnx.eval_shape(lambda: SwinUNet(preset.network, remat=self.remat, **kw))
        if isinstance(preset.codec, VQConfig):
            config = preset.codec
            parts["codec"] = nnx.eval_shape(lambda: VQAutoencoder(config, **kw))
        return parts

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter."""
        return {
            f"{part}.{_name(path)}": leaf.get_value().shape
            for part, module in self._abstract.items()
            for path, leaf in nnx.to_flat_state(nnx.state(module))
        }

    def init(self, key: Key[Array, ""]) -> dict[str, Array]:
        """Fresh parameters for training the network; a VQ codec's come from a checkpoint."""
        network = SwinUNet(self.preset.network, rngs=nnx.Rngs(key), dtype=self.dtype)
        return {f"network.{_name(path)}": leaf.get_value() for path, leaf in nnx.to_flat_state(nnx.state(network))}

    def rounded(self, params: Params) -> dict[str, Array]:
        """The parameters with the kernels in the compute dtype, so that calls need not round them; or as they are,
        where a CPU's calls would only make float32 of them again."""
        if self.dtype == jnp.float32 or (jax.default_backend() == "cpu" and product_dtype(self.dtype) != self.dtype):
            return dict(params)
        return {name: value.astype(self.dtype) if name.endswith(".kernel") else value for name, value in params.items()}

    def _merge(self, part: str, params: Params) -> Any:
        graph, state = nnx.split(self._abstract[part])
        leaves = [(path, v.replace(params[f"{part}.{_name(path)}"])) for path, v in nnx.to_flat_state(state)]
        return nnx.merge(graph, nnx.from_flat_state(leaves))

    def _precision(self) -> AbstractContextManager[Any]:
        """float32 means float32 on GPUs too, where products would be rounded to TF32 otherwise."""
        return jax.default_matmul_precision("highest" if self.dtype == jnp.float32 else "default")

    def encode(self, params: Params, image: Image) -> Float[Array, "b hz wz z"]:
        """Latent of images in [-1, 1], sides multiples of the codec's factor."""
        if isinstance(self.preset.codec, PixelCodecConfig):
            return pixel_unshuffle(image, self.preset.codec.factor)
        with self._precision():
            return self._merge("codec", params).encode(image)

    def decode(self, params: Params, latent: Float[Array, "b hz wz z"]) -> Image:
        """Image (about [-1, 1], not clipped) of a latent."""
        if isinstance(self.preset.codec, PixelCodecConfig):
            return pixel_shuffle(latent, self.preset.codec.factor)
        with self._precision():
            return self._merge("codec", params).decode(latent)

    def encode_lr(self, params: Params, lr: Image) -> Float[Array, "b hz wz z"]:
        """z_lr: the LR image, bicubically enlarged by the model's scale, then encoded."""
        scale = self.preset.scale
        return self.encode(params, upsample_bicubic(lr, scale) if scale > 1 else lr)

    def predict(
        self,
        params: Params,
        x_t: Float[Array, "b hz wz z"],
        input_scale: Float[Array, "*#b"],
        timesteps: Int[Array, " b"],
        z_lr: Float[Array, "b hz wz z"],
        lq: Image,
        mask: Float[Array, "b h w 1"] | None = None,
    ) -> Float[Array, "b hz wz z"]:
        """The prediction of x_0 (not clipped) from x_t, at the times that the network is told."""
        scaled = x_t * jnp.reshape(input_scale, (-1, 1, 1, 1))
        with self._precision():
            out = self._merge("network", params)(scaled, timesteps, lq, mask)
        return z_lr + out if self.preset.prediction == "residual" else out

    def denoiser(
        self,
        params: Params,
        schedule: Schedule,
        z_lr: Float[Array, "b hz wz z"],
        lq: Image,
        mask: Float[Array, "b h w 1"] | None = None,
    ) -> Denoiser:
        """f_theta(x_t, y_0, t) as the callable (x_t, step) that samplers take, `step` a row of `schedule`."""
        scales = jnp.asarray(schedule.input_scale, jnp.float32)
        times = jnp.asarray(schedule.timestep_map, jnp.int32)

        def denoise(x_t: Float[Array, "b hz wz z"], step: Int[Array, ""]) -> Float[Array, "b hz wz z"]:
            timesteps = jnp.broadcast_to(times[step], x_t.shape[:1])
            x0_hat = self.predict(params, x_t, scales[step], timesteps, z_lr, lq, mask)
            return jnp.clip(x0_hat, -1, 1) if self.preset.clip_x0 else x0_hat

        return denoise


def _name(path: tuple) -> str:
    return ".".join(map(str, path))
