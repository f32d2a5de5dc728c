"""Test that the rival computes the same as our networks with the same operations (needs PyTorch)."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.flops import stage_flops
from benchmarks.network_cases import Case, make_inputs, stage_function
from jaxsr import diffusion
from jaxsr.models.model import Model
from jaxsr.models.presets import PRESETS, ModelPreset
from tests.benchmarks.small import latent_preset, pixel_preset
from tests.models.tiny import compiled, random_values
from tests.torch_files.files import manifest

torch = pytest.importorskip("torch")
rival = pytest.importorskip("benchmarks.rival")


def enlarged_lr() -> ModelPreset:
    """Return a preset whose LR image is twice as large as the latent, as for face restoration."""
    return replace(latent_preset(lq_size=32), scale=1)


KINDS: dict[str, Callable[[], ModelPreset]] = {
    "latent": latent_preset,
    "enlarged LR": enlarged_lr,
    "wide windows": lambda: latent_preset(window_size=4, mlp_ratio=4, swin_depth=3),
    "pixel": pixel_preset,
}
STAGES = [("latent", "unet"), ("latent", "encode"), ("latent", "decode")]
STAGES += [(kind, "unet") for kind in ("wide windows", "pixel", "enlarged LR")]


def apart(theirs, ours) -> float:
    """Return the greatest difference over our greatest value."""
    theirs = theirs.detach().permute(0, 2, 3, 1).numpy()
    assert theirs.shape == ours.shape
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())


def both(preset: ModelPreset, case: Case):
    """Return the rival's output and ours, for the same parameters and inputs."""
    params, inputs = random_values(Model(preset).shapes()), make_inputs(preset, case)
    theirs = rival.prepare(rival.make(preset, params), case.stage, inputs, None, case.dtype)()
    return theirs, compiled(stage_function(preset, case))(params, jax.random.key(0), inputs)


@pytest.mark.parametrize(("kind", "stage"), STAGES)
def test_it_computes_the_same(kind, stage):
    theirs, ours = both(KINDS[kind](), Case(stage, 32, 2, "float32"))
    assert apart(theirs, np.asarray(ours)) < 1e-4


def test_bfloat16_rounds():
    theirs, ours = both(latent_preset(), Case("unet", 16, 1, "bfloat16"))
    assert theirs.dtype == torch.float32
    assert 1e-4 < apart(theirs, np.asarray(ours)) < 0.1


@pytest.mark.parametrize("kind", ["latent", "pixel"])
def test_the_chain_is_the_same(kind):
    """Both chains run from the LR image to the result, with the same noise."""
    preset, case = KINDS[kind](), Case("s4", 16, 1, "float32")
    params, lr = random_values(Model(preset).shapes()), make_inputs(preset, case)["lr"]
    schedule, model = case.schedule(preset), Model(preset)
    assert schedule is not None
    noise = np.random.default_rng(3).standard_normal((5, 1, 16, 16, preset.codec.latent_channels), np.float32)

    @compiled
    def ours(params, lr, noise):
        z_lr = model.encode_lr(params, lr)
        denoise = model.denoiser(params, schedule, z_lr, lr)
        return model.decode(params, diffusion.sample(denoise, schedule, z_lr, lambda k: noise[k]))

    made = rival.make(preset, params)
    made.network.fit(16, 16)
    with torch.no_grad():
        inputs = torch.from_numpy(lr).permute(0, 3, 1, 2)
        theirs = made.sample(inputs, schedule, lambda k, z: torch.from_numpy(noise[k]).permute(0, 3, 1, 2))
    assert apart(theirs, np.asarray(ours(params, jnp.asarray(lr), jnp.asarray(noise)))) < 1e-4


def test_a_call_of_the_chain_draws_its_noise():
    preset, case = latent_preset(), Case("s4", 16, 1, "float32")
    made = rival.make(preset, random_values(Model(preset).shapes()))
    call = rival.prepare(made, "s4", make_inputs(preset, case), case.schedule(preset), "float32")
    first, second = call(), call()
    assert first.shape == (1, 3, 32, 32)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("stage", ["unet", "encode", "decode"])
def test_torch_counts_the_same_operations(stage):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    preset, case = enlarged_lr(), Case(stage, 32, 2, "float32")
    made = rival.make(preset, random_values(Model(preset).shapes()))
    call = rival.prepare(made, stage, make_inputs(preset, case), None, case.dtype)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the counter misses fused attention
        call()
    assert counter.get_total_flops() == stage_flops(preset, stage, 32, 2)


@pytest.mark.parametrize(("part", "file"), [("network", "resshift_realsrx4_s4_v3"), ("codec", "autoencoder_vq_f4")])
def test_its_state_dict_has_the_released_layout(part, file):
    """The option --torch-repo loads the rival's state dict into the original."""
    from benchmarks.rival_unet import UNet
    from benchmarks.rival_vq import VQAutoencoder

    make, config = {"network": UNet, "codec": VQAutoencoder}[part], getattr(PRESETS["realsr_s4_v3"], part)
    with torch.device("meta"):
        state = make(config).state_dict()
    released = {key: shape for key, shape, _, kind in manifest(file) if kind == "param"}
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == released


def test_every_parameter_is_wanted():
    preset = latent_preset()
    params = random_values(Model(preset).shapes())
    del params["network.middle_block.1.blocks.0.attn.proj.kernel"]
    with pytest.raises(RuntimeError, match=r"middle_block\.1\.blocks\.0\.attn\.proj\.weight"):
        rival.make(preset, params)
