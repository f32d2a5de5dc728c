"""Calibration chooses guidance scales from pairs of LR and HR images: Algorithm 1.

It does not know the commands, the evaluation of results, or how a model was trained.
"""
