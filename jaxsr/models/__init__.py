"""The networks as Flax NNX modules, and their presets. They know nothing of diffusion."""
