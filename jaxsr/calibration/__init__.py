"""Algorithm 1: which guidance scale to take, from pairs of LR and HR images.

It does not know the commands, the evaluation of results, or how a model was trained.
"""
