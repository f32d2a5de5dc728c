"""Algorithm 1: which guidance scale to take, from pairs of LR and HR images."""
