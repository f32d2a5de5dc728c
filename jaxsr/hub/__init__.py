"""The hub finds a model by its name or path: its card, its licence, its files, and its checkpoint on this machine.

It does not know how the parameters of a checkpoint are used: networks, presets and sampling belong to other rooms.
"""
