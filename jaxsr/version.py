"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("jaxsr")
except PackageNotFoundError:  # a clone that is not installed, where --help works nevertheless
    __version__ = "0+source"
