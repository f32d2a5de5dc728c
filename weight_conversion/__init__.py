"""The conversion of released PyTorch checkpoints to jaxsr checkpoints, without PyTorch.

Run `python -m weight_conversion --help` for its commands.
"""
