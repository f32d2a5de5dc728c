"""The runtime holds what a whole process shares: compilation and its cache, oneDNN, devices, journals, progress bars.

It does not know what is computed: networks, diffusion and image files belong to other rooms.
"""
