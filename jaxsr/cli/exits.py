"""The messages and exit codes of the commands: an error is one line in place of a traceback."""

import os
import re
import sys
from collections.abc import Callable

from jaxsr.errors import EXPECTED

BROKEN_PIPE = 141
"""Exit code if nobody reads the output any more, as of a program that SIGPIPE ends."""
SOME_FAILED = 3
"""Exit code if some images failed and the others are done."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """Escape the control characters and line breaks in a text, because the names of files may contain them."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def say(text: str, *, wrong: bool = False) -> None:
    """Print one line on stdout, or on stderr if something went wrong."""
    print(one_line(text), file=sys.stderr if wrong else sys.stdout)


def exit_code(run: Callable[[], int], *, smaller: str = "a smaller image") -> int:
    """Call `run` and return its exit code, 1 after one sentence on an expected error, 130 after Ctrl-C.

    It is 141 if the reader of the output has gone.

    `smaller` names the remedy for a device with too little memory (JAX's RuntimeError).
    """
    try:
        code = run()
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of the output has gone, as `| head -1` does
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # or Python complains again at its end
        return BROKEN_PIPE
    except EXPECTED as error:
        say(f"error: {error}", wrong=True)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        say(f"error: the device has too little memory: give {smaller}", wrong=True)
    except KeyboardInterrupt:
        say("stopped; run the same command again to resume", wrong=True)
        return 130
    return 1
