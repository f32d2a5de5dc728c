"""Data come from folders and TFDS: photographs, their crops, and pairs of LR and HR images, read when they are needed.

This room does not know what the images are for: neither models nor diffusion nor metrics.
"""
