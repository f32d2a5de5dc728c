"""jaxsr: posterior diffusion super-resolution (ResShift) in JAX, with training-free quality control.

>>> import jaxsr
>>> enlarged = jaxsr.load("tiny-x4").upscale(image, seed=0)
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxsr.pipeline import Options, Upscaler, load

__version__ = version("jaxsr")
__all__ = ["Options", "Upscaler", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import jaxsr` and `--help` are quick."""
    if name not in __all__:
        raise AttributeError(f"module 'jaxsr' has no attribute {name!r}")
    from jaxsr import pipeline

    return getattr(pipeline, name)
