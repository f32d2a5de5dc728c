"""The record of how a picture was made, read from the picture: a text of PNG, or a property of XMP."""

import os

from PIL import Image

from jaxsr.imaging.decode import packet_of, quiet_unlimited_pillow
from jaxsr.imaging.pixels import ImageFileError
from jaxsr.imaging.sixteen_bit import RECORD
from jaxsr.imaging.xmp import find_record

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")


def read_record(path: str | os.PathLike[str]) -> str | None:
    """Read the JSON text that `jaxsr.imaging.files.write_pixels` put into a picture, without decoding its pixels.

    Returns None for a picture without one. Raises ImageFileError for a file that is no readable picture.
    """
    source = os.fspath(path)
    try:
        with quiet_unlimited_pillow(), Image.open(source, formats=_FORMATS) as image:
            if image.format == "PNG":
                return image.info.get(RECORD)
            packet = packet_of(image)
        return find_record(packet) if packet else None
    except FileNotFoundError as error:
        raise ImageFileError(f"{source}: no such file; check the name") from error
    except Exception as error:  # damaged files raise almost anything
        raise ImageFileError(f"{source}: no picture whose record can be read; give the .json beside it") from error
