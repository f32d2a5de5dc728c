"""Imaging is about pixels: files read and written without loss, resizing, tiles and their blending, noise by position.

It does not know networks, diffusion or commands.
"""
