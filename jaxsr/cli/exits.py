"""How the commands speak and end: one line in place of a traceback, and an exit code."""

import re
import sys
from collections.abc import Callable

from jaxsr.errors import EXPECTED

SOME_FAILED = 3
"""Exit code where some images failed and the others are done."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """Text with its control characters and line breaks escaped: names of files may have them."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str, *, wrong: bool = False) -> None:
    """Print one line on stdout, or on stderr where something went wrong."""
    print(one_line(text), file=sys.stderr if wrong else sys.stdout)


def exit_code(run: Callable[[], int], *, smaller: str = "a smaller image") -> int:
    """What `run` returns; 1 after one sentence on an expected error, 130 after Ctrl-C.

    `smaller` is what helps where the device has too little memory (JAX's RuntimeError).
    """
    try:
        return run()
    except EXPECTED as error:
        say(f"error: {error}", wrong=True)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        say(f"error: the device has too little memory: give {smaller}", wrong=True)
    except KeyboardInterrupt:
        say("stopped; run the same command again to go on", wrong=True)
        return 130
    return 1
