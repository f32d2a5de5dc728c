"""Upscaling enlarges an image of any size: it plans the tiles, compiles their calls, runs them and blends the results.

It takes and returns arrays. It knows neither the files of a batch nor the commands, nor how a model is trained or
evaluated.
"""
