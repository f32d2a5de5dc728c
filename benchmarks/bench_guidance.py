"""Time guidance: python -m benchmarks.bench_guidance [--model tiny-x4] [--size 64] [--steps 4]

The programs sample in the latent alone (no encoding, no decoding), one plain and the others guided. They take turns, so
that a noisy machine is noisy for all of them. The ratio is the median of the ratios to the plain run of the same turn.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

import jaxsr
from benchmarks.harness import machine, turns
from jaxsr import diffusion
from jaxsr.choices import GradientForm
from jaxsr.diffusion import Guidance
from jaxsr.models.model import Model
from jaxsr.runtime.compilation import compiler_options
from jaxsr.upscaling.upscaler import Upscaler

CASES = {
    "plain": None,
    "through the mean": GradientForm(through="mean"),
    "through the mean, two references": GradientForm(through="mean"),
    "through the state": GradientForm(through="state"),
}


def make_program(upscaler: Upscaler, size: int, steps: int, case: str) -> Callable[[], jax.Array]:
    """Compile the chain of a case, as a call without arguments."""
    model = Model(upscaler.preset)
    schedule = diffusion.thin(upscaler.preset.schedule.build(), steps)
    lr = jax.random.uniform(jax.random.key(0), (1, size, size, 3), minval=-1.0)
    # Not by `jaxsr.models.problem.pose`, because the chain is timed alone: z_lr is an argument of the program.
    z_lr = model.encode_lr(upscaler.params, lr)

    def run(params: dict[str, jax.Array], z_lr: jax.Array, scale: jax.Array) -> jax.Array:
        form = CASES[case]
        one = [] if form is None else [Guidance(reference=z_lr, scale=scale, form=form)]
        guidance = one * 2 if "two" in case else one
        noise = diffusion.normal_noise(jax.random.key(1), steps, z_lr.shape)
        return diffusion.sample(model.denoiser(params, schedule, z_lr, lr), schedule, z_lr, noise, guidance=guidance)

    arguments = (upscaler.params, z_lr, jnp.full(steps, 0.1))
    program = jax.jit(run, compiler_options=compiler_options()).lower(*arguments).compile()
    return partial(program, *arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-x4")
    parser.add_argument("--size", type=int, default=64, help="side of the input in pixels")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    upscaler = jaxsr.load(args.model)
    programs = {case: make_program(upscaler, args.size, args.steps, case) for case in CASES}
    seconds = turns(programs, args.runs)
    print(f"{machine()}; {args.model}, {args.size}x{args.size}, {args.steps} steps, {args.runs} runs\n")
    print("| sampling | median s | ratio to plain |\n|---|---|---|")
    for case in CASES:
        ratio = statistics.median(one / plain for one, plain in zip(seconds[case], seconds["plain"], strict=True))
        print(f"| {case} | {statistics.median(seconds[case]):.3f} | {ratio:.3f} |")


if __name__ == "__main__":
    main()
