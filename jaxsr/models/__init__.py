"""The networks as Flax NNX modules, their presets, and a model as pure functions of its parameters.

The networks know nothing of diffusion, and nothing in this room knows files.
"""
