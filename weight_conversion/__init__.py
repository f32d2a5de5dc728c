"""Released PyTorch checkpoints as jaxsr checkpoints, without PyTorch: `python -m weight_conversion --help`."""
