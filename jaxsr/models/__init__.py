"""The networks as Flax NNX modules, their presets, and models as pure functions of their parameters.

The networks do not depend on diffusion, and no module in this room reads or writes files.
"""
