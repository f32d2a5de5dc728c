"""A model: the networks of a preset, as pure functions of their parameters.

Parameters are one flat dict of arrays under dotted names (`network.input_blocks.0.0.kernel`). Checkpoints, optimisers
and the conversion all use this form.
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
from jaxsr.models.conv_unet import ConvUNet, ConvUNetConfig
from jaxsr.models.layers import OneKey
from jaxsr.models.pixel_codec import block_transform, pixel_shuffle, pixel_unshuffle
from jaxsr.models.presets import ModelPreset, PixelCodecConfig
from jaxsr.models.products import matmul
from jaxsr.models.swin_unet import SwinUNet
from jaxsr.models.vq_autoencoder import VQAutoencoder, VQConfig
from jaxsr.runtime.cpu import product_dtype

DTYPES = {"fp32": jnp.float32, "bf16": jnp.bfloat16}
Params = Mapping[str, Array]
Image = Float[Array, "b h w 3"]


@dataclass(frozen=True)
class Model:
    """The pure functions of one preset at one compute dtype. A model holds no weights.

    Attributes:
        preset: the model's preset.
        dtype: compute dtype, float32 or bfloat16.
        remat: whether a gradient through the network recomputes its blocks, which saves the memory of their
            intermediate values.
    """

    preset: ModelPreset
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @property
    @lru_cache(maxsize=8)  # noqa: B019  # shared by equal models, which hold no weights
    def _abstract(self) -> dict[str, nnx.Module]:
        """The networks with shapes in place of arrays, so that nothing is allocated."""
        preset, parts, kw = self.preset, {}, {"rngs": OneKey(), "dtype": self.dtype}
        parts["network"] = nnx.eval_shape(lambda: _network(preset, remat=self.remat, **kw))
        if isinstance(preset.codec, VQConfig):
            config = preset.codec
            parts["codec"] = nnx.eval_shape(lambda: VQAutoencoder(config, **kw))
        return parts

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every parameter."""
        return {
            f"{part}.{_name(path)}": leaf.get_value().shape
            for part, module in self._abstract.items()
            for path, leaf in nnx.to_flat_state(nnx.state(module))
        }

    def init(self, key: Key[Array, ""]) -> dict[str, Array]:
        """Initialise the parameters of the network, for training. A VQ codec takes its parameters from a checkpoint."""
        network = _network(self.preset, rngs=nnx.Rngs(key), dtype=self.dtype)
        return {f"network.{_name(path)}": leaf.get_value() for path, leaf in nnx.to_flat_state(nnx.state(network))}

    def rounded(self, params: Params) -> dict[str, Array]:
        """Round the kernels among the parameters to the compute dtype, so that no call has to round them.

        Parameters stay as they are on a CPU whose calls would only convert the kernels back to float32.
        """
        if self.dtype == jnp.float32 or (jax.default_backend() == "cpu" and product_dtype(self.dtype) != self.dtype):
            return dict(params)
        return {name: value.astype(self.dtype) if name.endswith(".kernel") else value for name, value in params.items()}

    def _merge(self, part: str, params: Params) -> Any:
        graph, state = nnx.split(self._abstract[part])
        leaves = [(path, v.replace(params[f"{part}.{_name(path)}"])) for path, v in nnx.to_flat_state(state)]
        return nnx.merge(graph, nnx.from_flat_state(leaves))

    def _precision(self) -> AbstractContextManager[Any]:
        """Make float32 products exact to float32 on GPUs too, which would otherwise round them to TF32."""
        return jax.default_matmul_precision("highest" if self.dtype == jnp.float32 else "default")

    def encode(self, params: Params, image: Image) -> Float[Array, "b hz wz z"]:
        """Encode images in [-1, 1], whose sides are multiples of the codec's factor, to their latent."""
        if isinstance(self.preset.codec, PixelCodecConfig):
            return pixel_unshuffle(image, self.preset.codec.factor)
        with self._precision():
            return self._merge("codec", params).encode(image)

    def decode(self, params: Params, latent: Float[Array, "b hz wz z"]) -> Image:
        """Decode a latent to images (about [-1, 1], not clipped)."""
        if isinstance(self.preset.codec, PixelCodecConfig):
            return pixel_shuffle(latent, self.preset.codec.factor)
        with self._precision():
            return self._merge("codec", params).decode(latent)

    def encode_lr(self, params: Params, lr: Image) -> Float[Array, "b hz wz z"]:
        """Compute z_lr: enlarge the LR images in [-1, 1] bicubically by the model's scale, then encode them."""
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
        """Predict x_0 (not clipped) from x_t.

        With the prediction `wiener` it is the posterior mean of a local Gaussian plus what the network knows better. In
        the basis of `block_transform`, let the coefficients of x_0 - z_lr be independent with standard deviations
        s = s_0 e^L: s_0 is the preset's `residual_std`, and L is the first half of the network's output, between -4 and
        4. It says how much detail there is at a position. The coefficients r of x_t - z_lr then have the variances
        v_t = (1 - eta_t)^2 s^2 + kappa^2 eta_t. The posterior mean of the coefficients of x_0 - z_lr is g_t r with
        g_t = (1 - eta_t) s^2 / v_t, and their standard deviation is d_t = s kappa sqrt(eta_t / v_t). The prediction is
        z_lr plus the coefficients g_t r + d_t F, where F is the second half of the output. The network gets g_t r / s
        for L = 0 instead of the normalised x_t: as much of x_t as it tells about x_0. Where chains begin it tells
        nothing, and whole noise would hide the LR image from the network.

        Args:
            params: the model's parameters.
            x_t: state, not yet normalised.
            input_scale: factor that normalises x_t, one for all images or one for each.
            timesteps: integer times that the network gets, after the timestep map.
            z_lr: latent of the LR images.
            lq: LR images in [-1, 1].
            mask: -1 / 1 at lq's size, 1 where content is missing; only for networks with `cond_mask`.
        """
        if self.preset.prediction == "wiener":
            return self._predict_wiener(params, x_t, timesteps, z_lr, lq, mask)
        out = self._network(params, x_t * jnp.reshape(input_scale, (-1, 1, 1, 1)), timesteps, lq, mask)
        return z_lr + out if self.preset.prediction == "residual" else out

    def _network(self, params: Params, *inputs: Array | None) -> Array:
        with self._precision():
            return self._merge("network", params)(*inputs)

    def _residual_basis(self, params: Params) -> Float[Array, "z z"]:
        """Return the rows in which the coefficients of x_0 - z_lr are nearly uncorrelated; see `predict`."""
        del params
        return jnp.asarray(block_transform(self.preset.codec.factor), jnp.float32)

    def _predict_wiener(
        self, params: Params, x_t: Array, timesteps: Array, z_lr: Array, lq: Array, mask: Array | None
    ) -> Array:
        schedule, codec = self.preset.schedule.build(), self.preset.codec
        eta = jnp.asarray(schedule.eta, jnp.float32)[timesteps, None, None, None]
        spread = jnp.broadcast_to(jnp.asarray(self.preset.residual_std, jnp.float32), (1, 1, 1, codec.latent_channels))
        basis = self._residual_basis(params)
        seen = matmul(x_t - z_lr, basis, transpose_b=True)
        gain, _ = linear_estimate(spread, eta, schedule.kappa)
        out = self._network(params, gain / spread * seen, timesteps, lq, mask)
        detail, correction = jnp.split(out, 2, axis=-1)
        gain, deviation = linear_estimate(spread * jnp.exp(4 * jnp.tanh(detail / 4)), eta, schedule.kappa)
        return z_lr + matmul(gain * seen + deviation * correction, basis)

    def denoiser(
        self,
        params: Params,
        schedule: Schedule,
        z_lr: Float[Array, "b hz wz z"],
        lq: Image,
        mask: Float[Array, "b h w 1"] | None = None,
    ) -> Denoiser:
        """Make f_theta(x_t, y_0, t), as the callable (x_t, step) that samplers take; `step` is a row of `schedule`.

        It clips the prediction to [-1, 1] where the preset says so (`ModelPreset.clip_x0`).
        """
        scales = jnp.asarray(schedule.input_scale, jnp.float32)
        times = jnp.asarray(schedule.timestep_map, jnp.int32)

        def denoise(x_t: Float[Array, "b hz wz z"], step: Int[Array, ""]) -> Float[Array, "b hz wz z"]:
            timesteps = jnp.broadcast_to(times[step], x_t.shape[:1])
            x0_hat = self.predict(params, x_t, scales[step], timesteps, z_lr, lq, mask)
            return jnp.clip(x0_hat, -1, 1) if self.preset.clip_x0 else x0_hat

        return denoise


def linear_estimate(spread: Array, eta: Array, kappa: float) -> tuple[Array, Array]:
    """Compute gain and standard deviation of x_0 - z_lr given x_t - z_lr, for Gaussians of deviation `spread`.

    See `Model.predict`. The arguments broadcast against each other.
    """
    noise, rest = kappa**2 * eta, 1 - eta
    variance = jnp.square(rest * spread) + noise
    return rest * jnp.square(spread) / variance, spread * jnp.sqrt(noise / variance)


def _network(preset: ModelPreset, **kw: Any) -> SwinUNet | ConvUNet:
    config = preset.network
    return ConvUNet(config, **kw) if isinstance(config, ConvUNetConfig) else SwinUNet(config, **kw)


def _name(path: tuple) -> str:
    return ".".join(map(str, path))
