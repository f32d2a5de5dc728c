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
from jaxsr.choices import GradientForm
from jaxsr.data.pairs import open_pairs
from jaxsr.diffusion import exponential_schedule, normal_noise, trajectory
from jaxsr.guidance.fits import fit_lstsq
from jaxsr.metrics.psnr import psnr
from jaxsr.numerics.gaussian_world import GaussianWorld
from jaxsr.numerics.instruments import truncation_instrument
from jaxsr.numerics.regression import Gradient, regress
from jaxsr.numerics.run import Study, make_setup
from jaxsr.numerics.tables import truncation_tables
from jaxsr.numerics.truncation import continuous_ends, fine_ends, local_errors, restrict
from jaxsr.options import Options
from jaxsr.runtime.compilation import enable_compilation_cache

_ = enable_compilation_cache()

# %% [markdown]
# ## Where it is true: the Gaussian world
#
# There every step and the flow are linear in $x_t$, so the error is linear in anything that is linear in $x_t$, the
# gradient to the LR image among them: the theorem holds exactly for every reference that is one number (shown for the
# ancestral step, the others are alike). An HR image of its own is no such reference: it is no function of $x_t$, and
# with it R² is below 1 even here.

# %%
world = GaussianWorld(kappa=2.0)
schedule = exponential_schedule(4, kappa=world.kappa)
y = np.full((1, 32, 32, 3), world.y, np.float32)
draw = normal_noise(jax.random.key(0), 4, y.shape)
states = trajectory(world.denoiser(schedule), schedule, y, draw).x_t[::-1]
ends = np.stack([world.flow(x, a, b) for x, a, b in zip(states, schedule.eta, schedule.eta_prev, strict=True)])
errors = local_errors(world.denoiser(schedule), schedule, y, states, ends)
plain = Gradient("lr", GradientForm())
sums = regress(world.denoiser(schedule), schedule, y, np.full_like(y, world.m), states, errors, gradients=[plain])
exact = fit_lstsq(sums[plain])
print("t        ", *range(1, 5), sep="        ")
print("slope    ", *(f"{value:8.4f}" for value in exact.slope))
print("R^2      ", *(f"{value:8.4f}" for value in exact.r2))

# %% [markdown]
# ## Is the reference good enough?
#
# The same flow by three solvers: the closed form, diffrax (Dopri5, tolerances 1e-9, float64) and what a network
# allows, Heun over the 60 rows that it knows (float32). What they differ by has to be small beside the error to be
# measured.

# %%
fine = exponential_schedule(60, kappa=world.kappa, min_noise_level=0.02)
rows = np.array([0, 20, 39, 59])
coarse = fine.select(rows)
draw = normal_noise(jax.random.key(0), 4, y.shape)
states = trajectory(world.denoiser(coarse), coarse, y, draw).x_t[::-1]
closed = np.stack([world.flow(x, a, b) for x, a, b in zip(states, coarse.eta, coarse.eta_prev, strict=True)])
adaptive = continuous_ends(world.predict, y, states, coarse.eta, coarse.eta_prev)
heun = fine_ends(world.denoiser(fine), fine, y, states, rows, np.array([-1, *rows[:-1]]))
euler = local_errors(world.denoiser(coarse), coarse, y, states, closed, "deterministic")
print("t   diffrax - closed form   Heun over 60 - closed form   error of one Euler step")
for t in range(4):
    gaps = [np.sqrt(np.mean(np.square(values[t] - closed[t]))) for values in (adaptive, heun)]
    print(f"{t + 1}   {gaps[0]:21.1e}   {gaps[1]:26.1e}   {np.sqrt(np.mean(np.square(euler[t]))):23.1e}")

# %% [markdown]
# At t = 1, the last of the 60 rows, reference and sampler take the same one step: nothing is measured there.
#
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
# fourth choice, the reference's variance, only scales the slope: R² is the same. For the LR image, shifted and clean
# are one. `removed` is the share of the squared error that the fitted correction takes away, on the images that it
# was fitted on, on others, and with constants of its own for each image (as a region with a known HR image would
# have).

# %%
rows = [row for row in tables["regression"] if row["reference_variance"] == "posterior"]
rows = [row for row in rows if (row["reference"], row["reference_mean"]) != ("lr", "shifted")]
print("sampler       reference through mean      t    slope     R²  cosine   removed: inside  outside  each image")
for row in sorted(rows, key=lambda row: (row["sampler"], -row["r2"])):
    if row["r2"] >= 0.1 or (row["reference"], row["through"], row["reference_mean"]) == ("lr", "mean", "clean"):
        print(
            "{sampler:13} {reference:9} {through:7} {reference_mean:8} {t:2} {slope:8.3f} {r2:6.3f} {cosine:7.3f}"
            "   {removed_inside:15.3f} {removed_outside:8.3f} {removed_each:11.3f}".format(**row)
        )

# %% [markdown]
# ## Why the ancestral sampler seems to obey
#
# At t = 4 and 3 the ancestral sampler's error is all but linear in the gradient, with the LR image even more than
# with the HR image. That is no error of discretisation. Both sides are mostly the noise of $x_t$: the flow carries
# the noise $\varepsilon$ on as $\kappa\sqrt{\eta'}\,\varepsilon$, the ancestral mean keeps only $\sqrt{\eta'/\eta}$
# of that, because it makes room for new noise. So error $= (\sqrt{\eta/\eta'} - 1)\,(\mu - c)$ for any $c$ that is
# small beside the noise: a slope without any image in it.

# %%
eta, eta_prev = setup.coarse.eta, setup.coarse.eta_prev
fitted = {
    row["t"]: row
    for row in rows
    if row["sampler"] == "ancestral" and (row["reference"], row["through"]) == ("lr", "mean")
}
print("t   slope fitted   slope of the noise alone   R²")
for t, row in sorted(fitted.items()):
    print(f"{t}   {row['slope']:12.3f}   {np.sqrt(eta[t - 1] / eta_prev[t - 1]) - 1:24.3f}   {row['r2']:.3f}")

# %% [markdown]
# Taken as scales of the ancestral sampler they correct the mean to that of the flow, and then the step's new noise
# comes on top of the old. What becomes of the pictures, PSNR on Y:

# %%
scales = (0.0, *(fitted[t]["slope"] for t in (2, 3, 4)))
choices = {
    "ancestral": {},
    "ancestral, these slopes as scales": {"alpha": scales},
    "deterministic": {"sampler": "deterministic"},
    "heun": {"sampler": "heun"},
}
for name, choice in choices.items():
    values = []
    for lr, hr in pairs:
        sr = upscaler.upscale(lr.astype(np.float32) / 255, steps=4, **choice)
        truth = hr[None].astype(np.float32) / 255
        values.append(float(psnr(np.clip(sr, 0, 1)[None], truth, border=4, luma=True)[0]))
    print(f"{name:34} {np.mean(values):6.2f} dB")

# %% [markdown]
# ## What it looks like
#
# One image, t = 3, every element's error over what guidance of scale 1 would add: the ancestral step, where both axes
# are the noise, and the deterministic step, whose error is one of discretisation.

# %%
lr = pairs[1][0][None].astype(np.float32) / 255


@jax.jit
def look(params):
    problem, coarse, kept = setup.problem(params, lr, jax.random.key(1)), setup.coarse, setup.rows
    z_lr, denoise = problem.z_lr, restrict(problem.denoise, kept)
    states = trajectory(denoise, coarse, z_lr, problem.noise).x_t[::-1]
    ends = fine_ends(problem.denoise, setup.fine, z_lr, states, kept, np.array([-1, *kept[:-1]]))
    samplers = ("ancestral", "deterministic")
    errors = {name: local_errors(denoise, coarse, z_lr, states, ends, name) for name in samplers}
    return {name: (ends - error - z_lr, error) for name, error in errors.items()}


seen = jax.device_get(look(upscaler.params))
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for panel, (name, (correction, error)) in zip(axes, seen.items(), strict=True):
    panel.plot(np.ravel(correction[2]), np.ravel(error[2]), ",", alpha=0.5)
    panel.set(xlabel="mean - LR image", ylabel="truncation error", title=name)
plt.show()

# %%
best = {s: max(row["r2"] for row in rows if row["sampler"] == s) for s in ("ancestral", "deterministic", "heun")}
outside = {s: max(row["removed_outside"] for row in rows if row["sampler"] == s) for s in best}
print("best R² of any gradient and step:", {name: round(value, 3) for name, value in best.items()})
print("largest share of the error removed on other images:", {name: round(value, 3) for name, value in outside.items()})
assert np.allclose(exact.r2[1:], 1, atol=1e-3)
assert best["deterministic"] < 0.25
assert best["heun"] < 0.25
assert best["ancestral"] > 0.95
assert abs(fitted[4]["slope"] / (np.sqrt(eta[3] / eta_prev[3]) - 1) - 1) < 0.1

# %% [markdown]
# **Answer.** Only where the theorem's assumptions are true. In the Gaussian world R² is 1 at every step, with the LR
# image as the reference. On the bundled network with 4 steps it is not: the error of the deterministic sampler, 0.010
# to 0.029 RMS where the flow moves 0.5 to 0.8, has R² of at most 0.15 with any of the sixteen gradients, and Heun's
# of at most 0.17. The fitted constants hold on other images as well as on their own, so there is nothing wrong with
# the fit: the error just points elsewhere, and the correction can remove 15 % of its square at best. The ancestral
# sampler's error, thirty times as large at t = 3 and 4, is all but linear in the gradient there (R² 0.93 and 0.99;
# 0.09 at t = 2), but at t = 4 its slope of 0.709 is that of the noise alone, 0.710: it is the noise that the step
# drops to make room for new noise. To correct it brings that noise back on top of the new one, and the pictures fall
# from 24.4 to 16.4 dB. What guidance does for a picture, it does not do by removing the truncation error.
