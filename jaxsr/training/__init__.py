"""Training makes a model from photographs: a config, degraded pairs, updates, checkpoints, and the exported model.

It does not know how a trained model enlarges whole images, how it is guided, or how it is judged.
"""
