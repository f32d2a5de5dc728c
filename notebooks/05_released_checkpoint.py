# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Reading a released ResShift checkpoint: s4 against s15
#
# **Question.** What is in a released `.pth` file, and what does training for 4 steps in place of 15 change: in the
# schedule, in the cost, in the size of the errors?
#
# Set `JAXSR_CHECKPOINTS` to a folder with `resshift_realsrx4_s4_v3.pth`, `resshift_realsrx4_s15_v1.pth` and
# `autoencoder_vq_f4.pth` to read the real ones (non-commercial licence, 700 MB). Without it this notebook reads two
# small networks of the same make with **random weights**, which lie among the tests: schedules and costs are then
# still those of the released models' method, pictures and errors mean nothing.

# %%
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

from jaxsr.data.pairs import open_pairs
from jaxsr.diffusion import SAMPLERS, normal_noise, thin, trajectory
from jaxsr.models.model import Model
from jaxsr.models.presets import PRESETS
from jaxsr.numerics.errors import forward_states, modular_error
from jaxsr.numerics.truncation import fine_ends, local_errors, restrict, rows_of
from jaxsr.runtime.compilation import enable_compilation_cache
from weight_conversion.convert import read_source

enable_compilation_cache()
released = {
    "s4": ("resshift_realsrx4_s4_v3.pth", "autoencoder_vq_f4.pth"),
    "s15": ("resshift_realsrx4_s15_v1.pth", "autoencoder_vq_f4.pth"),
}
folder = Path(os.environ.get("JAXSR_CHECKPOINTS", "../tests/parity/golden"))
real = all((folder / name).is_file() for names in released.values() for name in names)
files = released if real else dict.fromkeys(released, ("unet_sr.pth", "vq_f4.pth"))
print("released checkpoints" if real else "small stand-ins with random weights; the two differ in their schedule alone")

# %% [markdown]
# ## From the file to parameters
#
# The reader executes nothing of the pickle; keys and shapes alone tell the architecture, and seven rules rename the
# parameters.

# %%
models, params, sources = {}, {}, {}
for name, preset in (("s4", "realsr_s4_v3"), ("s15", "realsr_s15_v1")):
    network, codec = sources[name] = [read_source(folder / file) for file in files[name]]
    configs = network.architecture(), codec.architecture()
    models[name] = Model(replace(PRESETS[preset], network=configs[0], codec=configs[1]))
    params[name] = {f"network.{key}": value for key, value in network.float32(configs[0]).items()}
    params[name] |= {f"codec.{key}": value for key, value in codec.float32(configs[1]).items()}

network = sources["s4"][0]
print(models["s4"].preset.network)
sizes = Counter()
for key, tensor in network.state.items():
    sizes[".".join(key.split(".")[:2]) if "blocks" in key else key.split(".")[0]] += int(np.prod(tensor.shape))
print(f"\n{len(network.state)} tensors, {sum(sizes.values()) / 1e6:.2f} million numbers; the largest parts:")
for part, count in sizes.most_common(5):
    print(f"    {part:18} {count / 1e6:6.2f} million")

# %% [markdown]
# ## The schedules
#
# `realsr_s4` was not thinned from `realsr_s15`: it was trained on four steps of its own, whose last one starts at
# much more noise.

# %%
schedules = {name: model.preset.schedule.build() for name, model in models.items()}
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
for name, schedule in schedules.items():
    t = np.arange(1, schedule.steps + 1) / schedule.steps
    axes[0].plot(t, np.sqrt(schedule.eta), ".-", label=name)
    axes[1].semilogy(t, np.sqrt(schedule.variance_clipped), ".-", label=name)
axes[0].set(xlabel="t / T", ylabel="sqrt(eta)")
axes[1].set(xlabel="t / T", ylabel="noise put back by the step (standard deviation)")
axes[0].legend()
plt.show()
for name, schedule in schedules.items():
    print(f"{name}: noise before each step, t = 1 first: {np.round(schedule.kappa * np.sqrt(schedule.eta), 2)}")

# %% [markdown]
# ## Sampling, and what it costs

# %%
size = 64 if real else 16
pairs = open_pairs("../examples/pairs", None, scale=4, crop=size)
lr, hr = (image[None].astype(np.float32) / 255 for image in pairs[3])


def prepare(name):
    """A jitted function of the parameters: latents, denoiser and chain of one model."""
    model, schedule = models[name], schedules[name]

    @jax.jit
    def run(params):
        z_lr, z_hr = model.encode_lr(params, lr * 2 - 1), model.encode(params, hr * 2 - 1)
        denoise = model.denoiser(params, schedule, z_lr, lr * 2 - 1)
        steps = trajectory(denoise, schedule, z_lr, normal_noise(jax.random.key(0), schedule.steps, z_lr.shape))
        forward = forward_states(schedule, z_lr, z_hr, normal_noise(jax.random.key(1), schedule.steps, z_lr.shape))
        errors = modular_error(denoise, schedule, z_hr, forward)[:, 0]
        image = (model.decode(params, steps.sample[-1]) + 1) / 2
        predictions = (model.decode(params, steps.x0_hat[0]) + 1) / 2
        return {"image": image, "first": predictions, "modular": errors, "x0_hat": steps.x0_hat}

    return run


def seconds(function, *arguments):
    """Median of three calls after compilation."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return float(np.median(times))


found = {name: jax.device_get(prepare(name)(params[name])) for name in models}
for name, model in models.items():
    x = np.zeros_like(found[name]["x0_hat"][0])
    parts = {
        "encode": seconds(jax.jit(model.encode_lr), params[name], lr),
        "network": seconds(
            jax.jit(lambda p, x, model=model, name=name: model.denoiser(p, schedules[name], x, lr)(x, 0)),
            params[name],
            x,
        ),
        "decode": seconds(jax.jit(model.decode), params[name], x),
    }
    total = parts["encode"] + schedules[name].steps * parts["network"] + parts["decode"]
    text = ", ".join(f"{part} {value * 1e3:.0f} ms" for part, value in parts.items())
    print(f"{name}: {text}; whole picture of {4 * size} x {4 * size}: {total * 1e3:.0f} ms")

# %%
figure, axes = plt.subplots(1, 5, figsize=(14, 3), layout="constrained")
pictures = {"LR": lr, "HR": hr} | {name: one["image"] for name, one in found.items()}
pictures["s15, first x0 prediction"] = found["s15"]["first"]
for panel, (name, image) in zip(axes, pictures.items(), strict=True):
    panel.imshow(np.clip(image[0], 0, 1))
    panel.set_title(name)
    panel.axis("off")
plt.show()

# %% [markdown]
# ## Errors, step by step
#
# Modular error: KL divergence of the step to the true one, from forward states. Truncation error: s15's own flow over
# all of its 15 steps, against one step of 4 that are kept of them: what sampling s15 in 4 steps would cost, which
# training s4 avoids.

# %%
model, fine = models["s15"], schedules["s15"]
coarse = thin(fine, 4)
rows = rows_of(fine, coarse)


@jax.jit
def truncation(params):
    z_lr = model.encode_lr(params, lr * 2 - 1)
    denoise = model.denoiser(params, fine, z_lr, lr * 2 - 1)
    kept = restrict(denoise, rows)
    states = trajectory(kept, coarse, z_lr, normal_noise(jax.random.key(0), 4, z_lr.shape)).x_t[::-1]
    ends = fine_ends(denoise, fine, z_lr, states, rows, np.array([-1, *rows[:-1]]))
    errors = {name: local_errors(kept, coarse, z_lr, states, ends, name) for name in SAMPLERS}
    return {name: (error**2).mean((1, 2, 3, 4)) ** 0.5 for name, error in errors.items()}


local = jax.device_get(truncation(params["s15"]))
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
for name, one in found.items():
    axes[0].semilogy(schedules[name].eta, one["modular"], ".-", label=name)
axes[0].set(xlabel="eta", xscale="log", ylabel="modular error, nats per element")
axes[0].legend()
for name, error in local.items():
    axes[1].plot(range(2, 5), error[1:], ".-", label=name)
axes[1].set(xlabel="t (of 4 kept of 15)", ylabel="RMS of the truncation error", xticks=[2, 3, 4])
axes[1].legend()
plt.show()
print("truncation error, t = 2..4:", {name: np.round(error[1:], 4).tolist() for name, error in local.items()})

# %%
starts = {name: schedule.kappa * schedule.eta[0] ** 0.5 for name, schedule in schedules.items()}
assert np.isclose(starts["s4"] / starts["s15"], 5)
assert all(local["ancestral"][t] > local["deterministic"][t] > local["heun"][t] for t in (2, 3))
assert all(np.isfinite(one["modular"]).all() for one in found.values())

# %% [markdown]
# **Answer.** A released file is a dictionary of tensors whose names and shapes tell everything: it is read without
# executing anything, and without PyTorch. s4 is not s15 with steps left out: it was trained on a schedule of its own,
# whose last step starts at noise of 0.20, five times that of s15, and which goes from 1.04 to 0.20 in one step where
# s15 takes seven. It costs less: encoder and decoder are paid once whatever the steps, so with networks of one cost
# the whole picture gains less than the 3.75 times that 15 steps are to 4. The stand-ins are one network and too small
# to show it by the clock: its calls of some milliseconds scatter more than that. To sample s15 itself in 4 of its 15
# steps would be the cheap way, and the last plot says what that costs at every step: an Euler step errs by more than
# Heun's, and the ancestral mean, where there is much noise, by several times as much, because it makes room for more
# (notebook 2). With random weights the pictures and the sizes of the errors mean nothing; with the real files in
# `JAXSR_CHECKPOINTS` the same cells speak of the released models.
