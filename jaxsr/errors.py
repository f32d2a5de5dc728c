"""Errors that several rooms raise, and the tuples of errors that commands report as one sentence."""


def install(extra: str) -> str:
    """Return the words that say how to install an extra of this package."""
    # The name jaxsr on PyPI belongs to another project, so a bare name would install that.
    return f"run  pip install '.[{extra}]'  in a clone of jaxsr"


class NotFiniteError(ArithmeticError):
    """A network or a metric returned NaN or infinity."""


EXPECTED = (ValueError, OSError, ImportError, ArithmeticError, MemoryError)
"""Errors that commands report as one sentence: bad input, unreadable files, missing packages, NaN, lack of memory."""
IMAGE_FAILED = (*EXPECTED, RuntimeError)
"""Errors of one image that do not stop the other images. JAX reports errors of the device as RuntimeError."""
