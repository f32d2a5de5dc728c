"""Pairs by name in one folder: NAME_HR and NAME_LR4 side by side, as in RealSR, and other names of the same kind.

The names are NAME_HR or NAME_GT with NAME_LR, NAME_LQ, NAME_LR4, NAME_LRx4 or NAME_LR_bicubic_x4; with a number at the
end of both (HR_12 and LR_12); NAME_x1 with NAME_x4 (DRealSR); NAME with NAMEx4 (DIV2K); and HR/NAME with LR/NAME,
LRx4/NAME or LR_bicubic/X4/NAMEx4, where there are only such folders and every HR image has its LR image.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_KIND = re.compile(
    r"(?P<stem>|.*[ ._/-])(?P<kind>hr|gt|lr|lq)(?:[ ._-]?bicubic)?"
    r"(?:(?:[ ._-]?x)?(?P<scale>[2348]))?(?P<tail>[ ._-]\d+)?",
    re.IGNORECASE,
)
_FACTOR = re.compile(r"(?P<stem>.*[^ ._/-])[ ._-]?x(?P<scale>[12348])", re.IGNORECASE)
_LOW_FOLDER = re.compile(r"(?:lr|lq)(?:[ ._-]?bicubic)?(?:[ ._/-]?x?(?P<scale>[2348]))?", re.IGNORECASE)
_HIGH_ENDING = re.compile(r"[ ._-](?:hr|gt)$")
_LOW_ENDING = re.compile(r"(?:[ ._-]?x[2348]|[ ._-](?:lr|lq)(?:[ ._-]?x?[2348])?)$")


class _Name(NamedTuple):
    """A name: what it shares with its partner, whether it is the LR image, and its scale ("" if none is named)."""

    key: tuple[str, str]
    low: bool
    scale: str
    name: str


def partners(names: Iterable[str], scale: int) -> dict[str, list[str]]:
    """Find the LR images among names without extension: for each HR name with any, its LR names, the best first.

    The best LR image is the one that is named for `scale`, then one without a number. Upper and lower case, and the
    marks around HR and LR, make no difference; a name may have folders. Raises ValueError for two HR names with the
    same LR images.
    """
    names = sorted(names)
    if in_folders := _by_folder(names, scale):
        return in_folders
    found = _parse(names)
    low: dict[tuple[str, str], list[str]] = {}
    for one in sorted(found, key=lambda one: (one.scale != str(scale), one.scale != "", one.name)):
        if one.low:
            low.setdefault(one.key, []).append(one.name)
    high: dict[tuple[str, str], str] = {}
    for one in found:
        if one.low or one.key not in low:
            continue
        if one.key in high:
            raise ValueError(
                f"{high[one.key]} and {one.name} would both have the LR image {low[one.key][0]}; rename one of them."
            )
        high[one.key] = one.name
    return {name: low[key] for key, name in high.items()}


def low_names(names: Iterable[str], scale: int) -> set[str]:
    """Return the names that are LR images of others among them. Raises ValueError as `partners` does."""
    return {name for low in partners(names, scale).values() for name in low}


def _by_folder(names: list[str], scale: int) -> dict[str, list[str]]:
    """Find the LR images of names in a folder HR or GT, in folders LR or LQ beside it.

    Returns {} unless all names lie in such folders and each in the first has a partner: other folders may have these
    names by chance.
    """
    parts = {name: name.lower().split("/") for name in names}
    high = {"/".join(part[1:]): name for name, part in parts.items() if part[0] in ("hr", "gt") and len(part) > 1}
    bare = {_HIGH_ENDING.sub("", tail): name for tail, name in high.items()}
    places: list[tuple[int, str, str]] = []  # how far from the wanted scale, LR name, HR name
    for name, part in parts.items():
        if part[0] in ("hr", "gt"):
            continue
        heads = [(match, "/".join(part[n:])) for n in (1, 2) if (match := _LOW_FOLDER.fullmatch("/".join(part[:n])))]
        found = next(((m, high[tail]) for m, tail in heads if tail in high), None)
        if found is None and len(bare) == len(high):
            ended = ((m, _LOW_ENDING.sub("", tail)) for m, tail in heads)
            found = next(((m, bare[tail]) for m, tail in ended if tail in bare), None)
        if found is None:
            return {}
        number = found[0]["scale"] or ""
        places.append(((number != str(scale)) + (number not in ("", str(scale))), name, found[1]))
    partners = {name: [low for _, low, of in sorted(places) if of == name] for name in high.values()}
    complete = all(partners.values()) and sum(part[0] in ("hr", "gt") for part in parts.values()) == len(high)
    return partners if complete else {}


def _parse(names: list[str]) -> list[_Name]:
    found, whole = [], set(names)
    # The stem ends with a mark or a folder's slash, so that CHR is no HR.
    by_kind = {name: match for name in names if (match := _KIND.fullmatch(name))}
    high = {_key(match) for match in by_kind.values() if match["kind"].lower() in ("hr", "gt")}
    for name, match in by_kind.items():
        low, key = match["kind"].lower() in ("lr", "lq"), _key(match)
        number = match["scale"] or ""
        if low and not number and key not in high and key[1].lstrip(" ._-") in tuple("2348"):
            key, number = (key[0], ""), key[1][-1]  # NAME_LR_4 with NAME_HR: the number is the scale
        found.append(_Name(key, low, number, name))
    for name in names:
        match = None if name in by_kind else _FACTOR.fullmatch(name)
        if not match:
            continue
        key, low = (match["stem"].lower(), "x"), match["scale"] != "1"
        found.append(_Name(key, low, match["scale"] if low else "", name))
        if low and match["stem"] in whole:
            found.append(_Name(key, False, "", match["stem"]))
    return list(dict.fromkeys(found))


def _key(match: re.Match[str]) -> tuple[str, str]:
    return match["stem"].lower(), match["tail"] or ""
