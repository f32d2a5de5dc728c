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
# # 1. The Gaussian world

# %% [markdown]
# # 2. Is the truncation error linear in the KL gradient?
#
# **Question.** Theorem 3.2.1 of the paper says that the error of one coarse step is, up to two constants, the
# gradient of a KL divergence: error = slope · Σ G + offset. Does that hold on the bundled network, and for which of
# the sixteen ways to take the gradient?
#
# The truncation error is the difference between where the exact flow leads from $x_t$ and where the sampler's step
# does. The exact flow is Heun's method over all 60 steps that `tiny-x4` knows; the coarse sampler has 4. Pairs: eight
# crops of the Kodak photographs.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import jaxsr
from jaxsr.calibration.objectives import fit_lstsq
from jaxsr.calibration.pairs import open_pairs
from jaxsr.diffusion import exponential_schedule, normal_noise, trajectory
from jaxsr.numerics.gaussian_world import GaussianWorld
from jaxsr.numerics.instruments import truncation_instrument
from jaxsr.numerics.regression import Gradient, regress
from jaxsr.numerics.run import Study, make_setup
from jaxsr.numerics.tables import truncation_tables
from jaxsr.numerics.truncation import fine_ends, local_errors, restrict
from jaxsr.options import Options
from jaxsr.runtime import enable_compilation_cache

enable_compilation_cache()

# %% [markdown]
# ## Where it is true: the Gaussian world
#
# There every step and the flow are linear in $x_t$, so the error is linear in anything that is linear in $x_t$, the
# gradient among them: the theorem holds exactly, for every reference.

# %%
world = GaussianWorld(kappa=2.0)
schedule = exponential_schedule(4, kappa=world.kappa)
y = np.full((1, 32, 32, 3), world.y, np.float32)
draw = normal_noise(jax.random.key(0), 4, y.shape)
states = trajectory(world.denoiser(schedule), schedule, y, draw).x_t[::-1]
ends = np.stack([world.flow(x, a, b) for x, a, b in zip(states, schedule.eta, schedule.eta_prev, strict=True)])
errors = local_errors(world.denoiser(schedule), schedule, y, states, ends)
plain = Gradient("lr", "mean", "clean", "posterior")
sums = regress(world.denoiser(schedule), schedule, y, np.full_like(y, world.m), states, errors, gradients=[plain])
exact = fit_lstsq(sums[plain])
print("t        ", *range(1, 5), sep="        ")
print("slope    ", *(f"{value:8.4f}" for value in exact.slope))
print("R^2      ", *(f"{value:8.4f}" for value in exact.r2))

# %% [markdown]
# ## On the network: how large the error is

# %%
upscaler = jaxsr.load("tiny-x4")
pairs = open_pairs("../examples/pairs", None, scale=4, crop=32)
study = Study(upscaler=upscaler, name="tiny-x4", pairs=pairs, options=Options(steps=4), counts=(4,))
setup = make_setup(study)
measure, parts = truncation_instrument(setup), []
for i in range(len(pairs)):
    lr, hr = (image[None].astype(np.float32) / 255 for image in pairs[i])
    parts.append(measure(upscaler.params, lr, hr, jax.random.key(i)))
tables = truncation_tables(setup, parts)

print("RMS of the local error, latent in [-1, 1]; `moved`: how far the flow goes in that step")
print("sampler         t   error   moved   reference's own error, at most")
for row in tables["truncation"]:
    print("{sampler:13} {t:3} {mean:7.4f} {moved:7.4f} {reference_gap:8.4f}".format(**row))

# %%
figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
for sampler in ("ancestral", "deterministic", "heun"):
    rows = [row for row in tables["order"] if row["sampler"] == sampler]
    label = f"{sampler}: order {rows[1]['order']:.1f} to {rows[-1]['order']:.1f}"
    axes.loglog([row["length"] for row in rows], [row["rms"] for row in rows], "o-", label=label)
axes.set(xlabel="length of the step", ylabel="RMS of the local error", title="Observed order (p + 1)")
axes.legend()
plt.show()

# %% [markdown]
# ## The regression
#
# For every sampler, reference (LR or HR image), `through` (mean or state) and reference mean (clean or shifted). The
# fourth choice, the reference's variance, only scales the slope: R² is the same. `removed` is the share of the
# squared error that the fitted correction takes away, on the images that it was fitted on, on others, and with
# constants of its own for each image (as a region with a known HR image would have).

# %%
rows = [row for row in tables["regression"] if row["reference_variance"] == "posterior"]
print("sampler       reference through mean      t    slope     R²  cosine   removed: inside  outside  each image")
for row in sorted(rows, key=lambda row: (row["sampler"], -row["r2"])):
    if row["r2"] >= 0.1 or (row["reference"], row["through"], row["reference_mean"]) == ("lr", "mean", "clean"):
        print(
            "{sampler:13} {reference:9} {through:7} {reference_mean:8} {t:2} {slope:8.3f} {r2:6.3f} {cosine:7.3f}"
            "   {removed_inside:15.3f} {removed_outside:8.3f} {removed_each:11.3f}".format(**row)
        )

# %% [markdown]
# ## What it looks like
#
# The ancestral step at t = 3 of one image: every element's error over what guidance of scale 1 would add.

# %%
lr, hr = (image[None].astype(np.float32) / 255 for image in pairs[1])


@jax.jit
def look(params):
    denoise_fine, z_lr, z_hr = setup.latents(params, lr, hr)
    denoise, coarse, rows = restrict(denoise_fine, setup.rows), setup.coarse, setup.rows
    steps = trajectory(denoise, coarse, z_lr, setup.noise(jax.random.key(1), z_lr.shape))
    states = steps.x_t[::-1]
    ends = fine_ends(denoise_fine, setup.fine, z_lr, states, rows, np.array([-1, *rows[:-1]]))
    errors = {name: local_errors(denoise, coarse, z_lr, states, ends, name) for name in ("ancestral", "deterministic")}
    return steps.mean[::-1], errors, z_lr, z_hr


means, errors, z_lr, z_hr = look(upscaler.params)
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
for panel, (name, reference) in zip(axes, (("LR", z_lr), ("HR", z_hr)), strict=True):
    panel.plot(np.ravel(means[2] - reference), np.ravel(errors["ancestral"][2]), ",", alpha=0.5)
    panel.set(xlabel=f"mean - {name} image", title=f"away from the {name} image")
axes[0].set_ylabel("truncation error")
plt.show()

# %%
best = {s: max(row["r2"] for row in rows if row["sampler"] == s) for s in ("ancestral", "deterministic", "heun")}
lr_best = max(row["r2"] for row in rows if row["reference"] == "lr" and row["sampler"] == "ancestral")
outside = {s: max(row["removed_outside"] for row in rows if row["sampler"] == s) for s in best}
print("best R² of any gradient and step:", {name: round(value, 3) for name, value in best.items()})
print(f"best R² of the LR gradient, ancestral: {lr_best:.3f}")
print("largest share of the error removed on other images:", {name: round(value, 3) for name, value in outside.items()})
assert np.allclose(exact.r2[1:], 1, atol=1e-3)
assert max(best.values()) < 0.5

# %% [markdown]
# **Answer.** TODO
