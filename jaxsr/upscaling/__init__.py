"""Upscaling enlarges an image of any size: it plans the tiles, compiles their calls, runs them and blends the results.

It takes and returns arrays: it does not know the files of a batch, the commands, or how a model was trained or judged.
"""
