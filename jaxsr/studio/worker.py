"""One thread that computes: a short queue of jobs, and questions that are answered between the tiles of a job.

A job takes seconds to hours. A question, such as a look through the loupe, takes a second; it is answered before the
next job, and inside of a running job after its next tile, so that the knob stays alive while a picture is made.
"""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxsr.errors import IMAGE_FAILED

MOST_WAITING = 8
"""The most jobs, and the most questions, that wait."""
State = Literal["waiting", "running", "done", "failed", "cancelled"]
Report = Callable[[int, int], None]
"""Called with (tiles done, tiles in all) of a job."""


class BusyError(RuntimeError):
    """Too many jobs or questions wait already."""


class CancelledJob(Exception):  # no error: it stops a job that nobody wants any more
    """Raised inside of a job whose client has cancelled it."""


@dataclass(eq=False)
class JobState:
    """A job and how far it is. Another thread may read it at any time.

    Attributes:
        id: its id.
        model: name of the model that it needs.
        run: makes the result; it gets the state and a `Report`.
        state: see `State`.
        done, total: tiles; `total` is 0 until it is known.
        began, first, latest, ended: times of `time.monotonic`: of the start, of the end of the first tile and of the
            latest one, and of the end; 0 for what has not happened yet.
        pace: seconds per tile in an earlier job of the same kind, or None.
        error: one sentence about what failed, or empty.
        result: what `run` returned.
        version: grows with every change.
    """

    id: str
    model: str
    run: Callable[["JobState", Report], Any]
    state: State = "waiting"
    done: int = 0
    total: int = 0
    began: float = 0.0
    first: float = 0.0
    latest: float = 0.0
    ended: float = 0.0
    pace: float | None = None
    error: str = ""
    result: Any = None
    version: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def seconds(self) -> float:
        """Seconds since the start, until the end."""
        return (self.ended or time.monotonic()) - self.began if self.began else 0.0

    @property
    def eta(self) -> float | None:
        """Estimate the seconds until the end. None if nothing is known yet, as while the first tile is compiled."""
        if self.over or not self.total:
            return None
        pace = (self.latest - self.first) / (self.done - 1) if self.done > 1 else self.pace
        since = time.monotonic() - (self.latest or self.began)
        return None if pace is None else max(pace * (self.total - self.done) - since, 0.0)

    def moved(self, done: int, total: int) -> None:
        """Note how many tiles are done. Raises CancelledJob if the job has been cancelled."""
        if self.cancelled.is_set():
            raise CancelledJob
        if done > self.done:
            self.latest = time.monotonic()
            self.first = self.first or self.latest
        self.done, self.total, self.version = done, total, self.version + 1


@dataclass(eq=False)
class _Question:
    model: str | None
    answer: Callable[[], Any]
    future: "Future[Any]"


class Worker:
    """The thread and its queues.

    Args:
        failed: turns an error that no client caused into one sentence for it.
    """

    def __init__(self, failed: Callable[[BaseException], str] = str) -> None:
        self._failed, self._changed, self._stopping = failed, threading.Condition(), False
        self._jobs: deque[JobState] = deque()
        self._questions: deque[_Question] = deque()
        self._running: JobState | None = None
        self._thread = threading.Thread(target=self._work, name="jaxsr-worker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, wait: float = 5.0) -> None:
        """Cancel all jobs and end the thread, which may take until the end of a tile; wait at most `wait` seconds."""
        with self._changed:
            self._stopping = True
            for job in (*self._jobs, *([self._running] if self._running else [])):
                job.cancelled.set()
            for question in self._questions:
                question.future.cancel()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(wait)

    def submit(self, job: JobState) -> None:
        """Let a job wait for its turn. Raises BusyError if MOST_WAITING jobs wait already."""
        with self._changed:
            if len(self._jobs) >= MOST_WAITING:
                raise BusyError(f"{MOST_WAITING} pictures wait already; try again when one of them is done.")
            self._jobs.append(job)
            self._changed.notify_all()

    def ask(self, answer: Callable[[], Any], model: str | None = None) -> "Future[Any]":
        """Ask a question, and return its future.

        Args:
            answer: computes the answer, in the thread of the worker.
            model: name of the model that the answer needs. While a job runs, only questions to its model are answered.
        Raises:
            BusyError: if MOST_WAITING questions wait already.
        """
        future: Future[Any] = Future()
        with self._changed:
            if len(self._questions) >= MOST_WAITING:
                raise BusyError("too many questions wait already; try again in a second.")
            self._questions.append(_Question(model, answer, future))
            self._changed.notify_all()
        return future

    def cancel(self, job: JobState) -> None:
        """Cancel a job: at once if it waits, after its next tile if it runs."""
        job.cancelled.set()
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                _end(job, "cancelled")

    def place(self, job: JobState) -> int:
        """Return how many jobs come before a job that waits."""
        with self._changed:
            before = list(self._jobs).index(job) if job in self._jobs else 0
            return before + (self._running is not None and self._running is not job)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._questions or self._jobs)
                if self._stopping:
                    for job in self._jobs:
                        _end(job, "cancelled")
                    return
                question = self._questions.popleft() if self._questions else None
                self._running = None if question else self._jobs.popleft()
                job = self._running
            if question is not None:
                _answer(question)
            elif job is not None:
                self._do(job)
                with self._changed:
                    self._running = None

    def _do(self, job: JobState) -> None:
        job.state, job.began, job.version = "running", time.monotonic(), job.version + 1

        def report(done: int, total: int) -> None:
            job.moved(done, total)
            self._answer_waiting(job.model)

        try:
            job.moved(0, 0)
            job.result = job.run(job, report)
            _end(job, "done")
        except CancelledJob:
            _end(job, "cancelled")
        except IMAGE_FAILED as error:
            job.error = self._failed(error)
            _end(job, "failed")
        except Exception as error:
            traceback.print_exc()  # a fault of ours; the next job shall not suffer from it
            job.error = f"something went wrong ({type(error).__name__}); see the server's own output."
            _end(job, "failed")

    def _answer_waiting(self, model: str) -> None:
        with self._changed:
            mine = [question for question in self._questions if question.model in (None, model)]
            for question in mine:
                self._questions.remove(question)
        for question in mine:
            _answer(question)


def _answer(question: _Question) -> None:
    if not question.future.set_running_or_notify_cancel():
        return
    try:
        question.future.set_result(question.answer())
    except BaseException as error:
        question.future.set_exception(error)


def _end(job: JobState, state: State) -> None:
    job.ended, job.state, job.version = time.monotonic(), state, job.version + 1
