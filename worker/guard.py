"""Calls into libraries that may fail or never return, kept from holding up the caller.

A native call cannot be interrupted. So it runs on a thread of its own, and the caller waits for so
long and no longer. After that the circuit is open: calls are refused at once, until the lost call
has returned and a probe on that thread was answered in time. One thread, however often it hangs.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, InvalidStateError
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from contracts.errors import TransientError
from telemetry.complaint import Complaint

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE = 2.0  # seconds for one call
_PROBE_EVERY = 0.5  # seconds


class Guard:
    """Guards the calls to one part; one caller at a time.

    Attributes:
        name: of the part, for the log.
    """

    def __init__(
        self, name: str, probe: Callable[[], object], patience_s: float = PATIENCE
    ) -> None:
        """Begin with the circuit closed.

        Args:
            name: of the part, for the log.
            probe: a call that is answered only where the part works; its answer is not used.
            patience_s: how long a call may take.
        """
        self.name = name
        self._probe = probe
        self._patience_s = patience_s
        self._closed_circuit = True
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._complaint = Complaint("in trouble", "works again", {"part": name})
        self._stopping = threading.Event()
        threading.Thread(target=self._serve, name=f"guard-{name}", daemon=True).start()

    def call(self, work: Callable[[], T]) -> T | None:
        """Return what `work` returns; None if it fails or takes too long, which is logged once."""
        return self.wait(self.begin(work))

    def begin(self, work: Callable[[], T]) -> Future[T]:
        """Have something done after what was begun before; wait for each of them in this order."""
        future: Future[T] = Future()
        if self._closed_circuit:
            self._jobs.put((future, work))
        else:
            future.set_exception(self._not_answered())
        return future

    def wait(self, future: Future[T]) -> T | None:
        """Return what the work that was begun returns, or None; see `call`."""
        try:
            result = self._wait(future)
        except Exception as error:  # noqa: BLE001 - a guard lets nothing pass
            self._complaint.happened(error=str(error), exc_info=error)
            return None
        self._complaint.did_not_happen()
        return result

    def close(self) -> None:
        """End the thread as soon as it is free; calls must have ended."""
        self._stopping.set()
        self._jobs.put(None)

    def _wait(self, future: Future[T]) -> T:
        if not (self._closed_circuit or future.done()):
            future.cancel()
            raise self._not_answered()
        try:
            return future.result(self._patience_s)
        except TimeoutError:
            if self._came_late(future):
                raise TransientError(
                    f"the {self.name} did not answer within {self._patience_s:g} s"
                ) from None
            return future.result()  # in the last moment, or an error of its own

    def _not_answered(self) -> TransientError:
        return TransientError(f"the {self.name} has not answered yet")

    def _came_late(self, future: Future[T]) -> bool:
        """Open the circuit, unless the call has just returned."""
        self._closed_circuit = False
        if future.cancel():
            return True
        self._closed_circuit = True
        return False

    # -- the guarded thread ----------------------------------------------------------------------

    def _serve(self) -> None:
        while job := self._jobs.get():
            future, work = job
            try:
                _answer(future, work)
            except InvalidStateError:  # nobody waits any more
                self._close_when_well()

    def _close_when_well(self) -> None:
        while not self._is_well() and not self._stopping.wait(_PROBE_EVERY):
            pass
        self._closed_circuit = True

    def _is_well(self) -> bool:
        begun = time.monotonic()
        try:
            self._probe()
        except Exception:  # noqa: BLE001 - why it fails was said when it began
            return False
        return time.monotonic() - begun < self._patience_s


def _answer(future: Future[T], work: Callable[[], T]) -> None:
    if future.cancelled():
        raise InvalidStateError
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - the caller's to judge
        future.set_exception(error)
    else:
        future.set_result(result)
