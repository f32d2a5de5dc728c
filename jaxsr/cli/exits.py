"""The messages and exit codes of the commands: an error is one line in place of a traceback."""

import _thread
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from jaxsr.errors import EXPECTED

BROKEN_PIPE = 141
"""Exit code if nobody reads the output any more, as of a program that SIGPIPE ends."""
LEAST_SPACE = 2 * 10**9
LONGEST = 4000
SOME_FAILED = 3
"""Exit code if some images failed and the others are done."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGAIN = 0.05  # seconds until a forgotten signal comes again
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """Escape the control characters and line breaks in a text, because the names of files may contain them."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def say(text: str, *, wrong: bool = False) -> None:
    """Print one line on stdout, or on stderr if something went wrong. A line of more than LONGEST characters is cut."""
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    print(one_line(shown), file=sys.stderr if wrong else sys.stdout)


def say_left_out(roots: Iterable[Path | str | None], *, recursive: bool = True) -> None:
    """Print a note about the images in folders that are left out because we do not read their types."""
    from jaxsr.imaging.folders import left_out

    if note := left_out([root for root in roots if root is not None], recursive=recursive):
        say(f"note: {note}", wrong=True)


def exit_code(run: Callable[[], int], *, smaller: str = "a smaller image") -> int:
    """Call `run` and return its exit code, 1 after one sentence on an expected error, 130 after Ctrl-C.

    It is 141 if the reader of the output has gone.

    `smaller` names the remedy for a device with too little memory (JAX's RuntimeError). SIGTERM stops the run as Ctrl-C
    does, with the code 143. A second signal ends the process at once.
    """
    try:
        _check_address_space()
        with _stopping():
            code = run()
        if sys.stdout is not None:  # it is None if the caller has closed it
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of the output has gone, as `| head -1` does
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # or Python complains again at its end
        return BROKEN_PIPE
    except EXPECTED as error:
        say(f"error: {_sentence(error)}", wrong=True)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        say(f"error: the device has too little memory: give {smaller}", wrong=True)
    except KeyboardInterrupt as stop:
        say("stopped; run the same command again to resume", wrong=True)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    return 1


def _sentence(error: BaseException) -> str:
    """Return the message of an error; for the system's own about a file, with what to do."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        advice = "" if ";" in error.strerror else "; check the name, the permissions and the room on the disk"
        return f"{os.fsdecode(error.filename)}: {error.strerror}{advice}."
    return str(error) or type(error).__name__


def _check_address_space() -> None:
    """Raise ValueError if the limit of the address space is so low that JAX would end the process with a dump."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_SPACE:
        raise ValueError(
            f"this process may have {limit / 1e9:.2g} GB of address space, but JAX needs {LEAST_SPACE / 1e9:.2g} GB: "
            "raise  ulimit -v"
        )


def end(code: int) -> NoReturn:
    """End the process. After a signal, a further one ends it at once, while threads are still waited for."""
    if code > 128:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
    sys.exit(code)


def _interrupt(number: int) -> None:
    """Send a signal to the main thread, so that it also ends a system call that waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


@contextmanager
def _stopping() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGINT and SIGTERM, once each run; then the signals have their default effect.

    Python forgets an exception inside of a finaliser or a callback of the garbage collector, such as JAX's. The signal
    then comes again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt(number)

    def forgotten(found: Any) -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):
            hook(found)
            return
        for each in _SIGNALS:
            signal.signal(each, stop)
        number = found.exc_value.args[0] if found.exc_value and found.exc_value.args else signal.SIGINT
        if not any(timer.is_alive() for timer in pending):
            pending.append(threading.Timer(_AGAIN, _interrupt, (number,)))
            pending[-1].daemon = True
            pending[-1].start()

    pending: list[threading.Timer] = []
    hook, sys.unraisablehook = sys.unraisablehook, forgotten
    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for timer in pending:
            timer.cancel()
        for each, handler in before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)
