"""The runtime of a process: compilation and its cache, oneDNN, devices, journals and progress bars.

It does not depend on what is computed: networks, diffusion and image files belong to other rooms.
"""
