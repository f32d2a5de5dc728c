"""Data come from folders and TFDS: photographs, their crops, and pairs of LR and HR images, read when they are needed.

This room does not know the use of the images: it depends on neither models, nor diffusion, nor metrics.
"""
