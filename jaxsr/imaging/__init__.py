"""Operations on pixels: reading and writing files without loss, resizing, tiles and their blending, noise by position.

This room does not depend on networks, diffusion or commands.
"""
