"""jaxsr: posterior diffusion super-resolution (ResShift) in JAX, with training-free quality control.

>>> import jaxsr
>>> enlarged = jaxsr.load().upscale(image, seed=0)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxsr.hub.hugging_face import push
    from jaxsr.models.problem import Problem
    from jaxsr.options import Options
    from jaxsr.upscaling.loading import load
    from jaxsr.upscaling.stream import upscale_many
    from jaxsr.upscaling.upscaler import Upscaler
    from jaxsr.version import __version__

_HOMES = {
    "Options": "jaxsr.options",
    "Problem": "jaxsr.models.problem",
    "Upscaler": "jaxsr.upscaling.upscaler",
    "__version__": "jaxsr.version",
    "load": "jaxsr.upscaling.loading",
    "push": "jaxsr.hub.hugging_face",
    "upscale_many": "jaxsr.upscaling.stream",
}
__all__ = ["Options", "Problem", "Upscaler", "__version__", "load", "push", "upscale_many"]


def __dir__() -> list[str]:
    """List the public names too that were not used yet, for completion."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import jaxsr` and `--help` stay quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxsr' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
