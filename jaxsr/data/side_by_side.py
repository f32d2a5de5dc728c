"""Pairs by name in one folder: NAME_HR and NAME_LR4 side by side, as in RealSR."""

import re
from collections.abc import Iterable

_NAME = re.compile(r"(?P<stem>|.*[ ._/-])(?P<kind>hr|lr)(?:[ ._-]?x?(?P<scale>[2348]))?", re.IGNORECASE)


def partners(names: Iterable[str], scale: int) -> dict[str, list[str]]:
    """Find the LR images among names without extension: for each HR name with any, its LR names, the best first.

    The best LR image is the one that is named for `scale`, then one without a number. Upper and lower case, and the
    marks around HR and LR, make no difference; a name may have folders.
    """
    found = [
        (match["stem"].lower(), match["kind"].lower(), match["scale"] or "", match[0]) for match in _matches(names)
    ]
    low: dict[str, list[str]] = {}
    for stem, kind, _, name in sorted(found, key=lambda one: (one[2] != str(scale), one[2] != "", one[3])):
        if kind == "lr":
            low.setdefault(stem, []).append(name)
    return {name: low[stem] for stem, kind, _, name in found if kind == "hr" and stem in low}


def low_names(names: Iterable[str], scale: int) -> set[str]:
    """Return the names that are LR images of others among them."""
    return {name for low in partners(names, scale).values() for name in low}


def _matches(names: Iterable[str]) -> list[re.Match[str]]:
    # The stem ends with a mark or a folder's slash, so that CHR is no HR.
    return [match for name in names if (match := _NAME.fullmatch(name))]
