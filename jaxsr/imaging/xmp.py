"""XMP: the properties that still hold for the turned and enlarged image, and the record of how it was made."""

import re
from xml.etree import ElementTree

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
OURS = "urn:jaxsr:record:1"
"""The vocabulary of the record of a result, see `add_record`."""
_DESCRIPTION, _ABOUT, _RECORD = f"{{{RDF}}}Description", f"{{{RDF}}}about", f"{{{OURS}}}record"
# Whole vocabularies: edits of the raw file, gain maps, panoramas, embedded images, regions in turned coordinates.
_DROPPED_SPACES = (
    "http://ns.adobe.com/camera-raw-settings/1.0/",
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.adobe.com/xmp/note/",
    "http://ns.google.com/photos/1.0/",
    "http://www.metadataworkinggroup.com/schemas/regions/",
    "http://ns.apple.com/HDRGainMap/",
    "http://ns.apple.com/adjustment-settings/",
    OURS,  # the record of an earlier result
)
_TIFF, _EXIF, _XMP = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/xap/1.0/"
# Properties that turning or enlarging makes false.
_DROPPED = {
    *(f"{{{_TIFF}}}{name}" for name in ("Orientation", "ImageWidth", "ImageLength", "BitsPerSample", "Compression")),
    *(f"{{{_EXIF}}}{name}" for name in ("PixelXDimension", "PixelYDimension", "SubjectArea", "SubjectLocation")),
    f"{{{_XMP}}}Thumbnails",
}
_PREFIXES = {
    "x": "adobe:ns:meta/",
    "rdf": RDF,
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": _XMP,
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "tiff": _TIFF,
    "exif": _EXIF,
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "jaxsr": OURS,
}
for _prefix, _space in _PREFIXES.items():
    ElementTree.register_namespace(_prefix, _space)
_WRAPPER = (b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>', b'<?xpacket end="w"?>')


def clean_xmp(packet: bytes | None) -> bytes | None:
    """Reduce an XMP packet to what holds for the enlarged image.

    Returns a packet, or None if no property remains. Raises ValueError for a packet that cannot be read.
    """
    if not packet:
        return None
    root, kept = _parse(packet), 0
    for folder in [*root.iter(f"{{{RDF}}}RDF")]:
        for one in [one for one in folder if one.tag == _DESCRIPTION and _is_ours(one)]:
            folder.remove(one)
    for description in root.iter(_DESCRIPTION):
        for name in [name for name in description.attrib if _is_false(name)]:
            del description.attrib[name]
        for child in [child for child in description if isinstance(child.tag, str) and _is_false(child.tag)]:
            description.remove(child)
        kept += len(description) + sum(not name.startswith(f"{{{RDF}}}") for name in description.attrib)
    if not kept:
        return None
    return _pack(root)


def add_record(packet: bytes | None, record: str) -> bytes:
    """Add the record of a result to an XMP packet, or make a packet of it alone. `packet` is one of `clean_xmp`."""
    if packet is None:
        root = ElementTree.Element("{adobe:ns:meta/}xmpmeta")
        folder = ElementTree.SubElement(root, f"{{{RDF}}}RDF")
    else:
        root = _parse(packet)
        folder = next(root.iter(f"{{{RDF}}}RDF"), root)
    ElementTree.SubElement(folder, _DESCRIPTION, {_ABOUT: "", _RECORD: record})
    return _pack(root)


def find_record(packet: bytes) -> str | None:
    """Return the record that `add_record` put into a packet, or None. Raises ValueError for an unreadable packet."""
    found = (one.attrib.get(_RECORD) for one in _parse(packet).iter(_DESCRIPTION))
    return next((record for record in found if record is not None), None)


def _parse(packet: bytes) -> ElementTree.Element:
    """Parse a packet. Raises ValueError for one that cannot be read."""
    text = re.sub(r"<\?xpacket.*?\?>", "", packet.decode("utf-8", "replace").strip("\0\ufeff \n\r\t"), flags=re.DOTALL)
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
        raise ValueError("XMP with declarations")  # entities could swell without bound
    try:
        return ElementTree.fromstring(text.strip("\ufeff \n\r\t"))
    except ElementTree.ParseError as error:
        raise ValueError(f"XMP that is no XML ({error})") from error


def _pack(root: ElementTree.Element) -> bytes:
    return b"\n".join((_WRAPPER[0], ElementTree.tostring(root, encoding="utf-8"), _WRAPPER[1]))


def _is_ours(description: ElementTree.Element) -> bool:
    """Return whether a description has nothing but the record of an earlier result."""
    return not len(description) and set(description.attrib) - {_ABOUT} == {_RECORD}


def _is_false(name: str) -> bool:
    return name in _DROPPED or name.startswith(tuple(f"{{{space}" for space in _DROPPED_SPACES))
