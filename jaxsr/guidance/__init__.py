"""Guidance pulls a sample toward fidelity or texture: by scales, maps, regions with a reference, and calibration files.

It knows neither which network it guides nor how an image is cut into calls of that network.
"""
