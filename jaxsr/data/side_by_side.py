"""Pairs by name in one folder: NAME_HR and NAME_LR4 side by side, as in RealSR, and other names of the same kind.

The names are NAME_HR or NAME_GT with NAME_LR, NAME_LQ, NAME_LR4, NAME_LRx4 or NAME_LR_bicubic_x4; with a number at the
end of both (HR_12 and LR_12); NAME_x1 with NAME_x4 (DRealSR); NAME with NAMEx4 (DIV2K); and HR/NAME with LR/NAME,
LRx4/NAME or LR_bicubic/X4/NAMEx4, in folders of such names.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_KIND = re.compile(
    r"(?P<stem>|.*[ ._/-])(?P<kind>hr|gt|lr|lq)(?:[ ._-]?bicubic)?"
    r"(?:(?:[ ._-]?x)?(?P<scale>[2348]))?(?P<tail>[ ._-]\d+)?",
    re.IGNORECASE,
)
_FOLDER = re.compile(
    r"(?P<stem>|.*/)(?P<kind>hr|gt|lr|lq)(?:[ ._-]?bicubic)?(?:[ ._/-]?x?(?P<scale>[2348]))?(?P<tail>/.+)",
    re.IGNORECASE,
)
_FACTOR = re.compile(r"(?P<stem>.*[^ ._/-])[ ._-]?x(?P<scale>[12348])", re.IGNORECASE)
_ENDING = re.compile(r"(?:[ ._-]?x[1-8]|[ ._-](?:hr|gt|lr|lq)(?:[ ._-]?x?[2348])?)$", re.IGNORECASE)


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
    found = _parse(sorted(names))
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


def _parse(names: list[str]) -> list[_Name]:
    found, whole = [], set(names)
    # The stem ends with a mark or a folder's slash, so that CHR is no HR.
    by_kind = [(name, match) for name in names for form in (_KIND, _FOLDER) if (match := form.fullmatch(name))]
    high = {_key(match) for _, match in by_kind if match["kind"].lower() in ("hr", "gt")}
    for name, match in by_kind:
        low, key = match["kind"].lower() in ("lr", "lq"), _key(match)
        number = match["scale"] or ""
        if low and not number and key not in high and key[1].lstrip(" ._-") in tuple("2348"):
            key, number = (key[0], ""), key[1][-1]  # NAME_LR_4 with NAME_HR: the number is the scale
        found.append(_Name(key, low, number, name))
    parsed = {name for name, _ in by_kind}
    for name in names:
        match = None if name in parsed else _FACTOR.fullmatch(name)
        if not match:
            continue
        key, low = (match["stem"].lower(), "x"), match["scale"] != "1"
        found.append(_Name(key, low, match["scale"] if low else "", name))
        if low and match["stem"] in whole:
            found.append(_Name(key, False, "", match["stem"]))
    return list(dict.fromkeys(found))


def _key(match: re.Match[str]) -> tuple[str, str]:
    tail = match["tail"] or ""
    if tail.startswith("/"):  # the name in a folder of HR or LR images, which may end as the folder does
        tail = _ENDING.sub("", tail)
    return match["stem"].lower(), tail
