"""Image metrics: they score a result against its original, against its input, or by itself, with intervals.

Metrics do not know how a result was made: this package imports no models, no diffusion and no options.
"""
