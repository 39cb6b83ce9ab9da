"""Stops a function right before its n-th change of the disk: to kill it there, or to freeze it.

The function runs in a forked child that is traced with ptrace(2), so every system call counts,
whoever makes it: Python, SQLite or FAISS. The process that forks must be single-threaded and small;
`chaos.apart` makes one.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import traceback
from typing import TYPE_CHECKING, Self

from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Callable

_TRACEME, _DETACH, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 17, 24, 0x4200, 0x420E
_TRACESYSGOOD, _EXITKILL = 1, 0x100000
_ENTRY = 1
_O_CREAT, _O_TRUNC = os.O_CREAT, os.O_TRUNC

# Numbers of the calls that change a disk: asm/unistd_64.h, and asm-generic/unistd.h for arm64.
_OPENAT = {"x86_64": 257, "aarch64": 56}
_CHANGES = {
    "x86_64": {
        1: "write",
        18: "pwrite64",
        20: "writev",
        73: "flock",
        74: "fsync",
        75: "fdatasync",
        76: "truncate",
        77: "ftruncate",
        82: "rename",
        83: "mkdir",
        84: "rmdir",
        87: "unlink",
        90: "chmod",
        91: "fchmod",
        257: "openat",
        258: "mkdirat",
        263: "unlinkat",
        264: "renameat",
        268: "fchmodat",
        316: "renameat2",
    },
    "aarch64": {
        32: "flock",
        34: "mkdirat",
        35: "unlinkat",
        38: "renameat",
        45: "truncate",
        46: "ftruncate",
        52: "fchmod",
        53: "fchmodat",
        56: "openat",
        64: "write",
        66: "writev",
        68: "pwrite64",
        82: "fsync",
        83: "fdatasync",
        276: "renameat2",
    },
}


class _SyscallInfo(ctypes.Structure):
    """`struct ptrace_syscall_info`, as of Linux 5.3."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("nr", ctypes.c_uint64),
        ("args", ctypes.c_uint64 * 6),
        ("rest", ctypes.c_uint64 * 4),
    )


class Interrupted:
    """A child that runs a function up to a point.

    Attributes:
        call: the system call it stands before; empty if the function returned before.
        changes: how many changes it has made or was about to make.
    """

    def __init__(self, work: Callable[[], object], point: int) -> None:
        """Fork, and let the child run until right before its `point`-th change, from 1 on."""
        self._pid = os.fork()
        if self._pid == 0:
            _be_traced(work)
        os.waitpid(self._pid, 0)
        _ptrace(_SETOPTIONS, self._pid, _TRACESYSGOOD | _EXITKILL)
        self._code: int | None = None
        self.changes = 0
        self.call = self._run_to(point)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """`kill -9`, right there. Nothing where it is gone."""
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def freeze(self) -> None:
        """Stop every thread of it, right after the call it stood before."""
        os.kill(self._pid, signal.SIGSTOP)
        _ptrace(_DETACH, self._pid)
        os.waitpid(self._pid, os.WUNTRACED)

    def thaw(self) -> int:
        """Let it go on, and wait for its end; 0 if the function returned."""
        os.kill(self._pid, signal.SIGCONT)
        self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._code

    @classmethod
    def count(cls, work: Callable[[], object]) -> int:
        """How many changes a function makes, left alone."""
        with cls(work, -1) as whole:
            return whole.changes

    def _run_to(self, point: int) -> str:
        while call := self._next_change():
            self.changes += 1
            if self.changes == point:
                return call
        return ""

    def _next_change(self) -> str:
        passed = 0
        while True:
            _ptrace(_SYSCALL, self._pid, passed)
            _, status = os.waitpid(self._pid, 0)
            if not os.WIFSTOPPED(status):
                self._code = os.waitstatus_to_exitcode(status)
                if self._code:
                    raise FatalError(f"the interrupted function failed: {self._code}")
                return ""
            stopped_by = os.WSTOPSIG(status)
            passed = 0 if stopped_by & 0x80 else stopped_by
            if call := stopped_by & 0x80 and _change_begun(self._pid):
                return call


def _be_traced(work: Callable[[], object]) -> None:
    """Run in the child, which ends here."""
    try:
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a child must never run on as its parent
        traceback.print_exc()
        os._exit(1)


def _change_begun(pid: int) -> str:
    info = _SyscallInfo()
    _ptrace(_GET_SYSCALL_INFO, pid, ctypes.addressof(info), ctypes.sizeof(info))
    machine = platform.machine()
    if info.op != _ENTRY:
        return ""
    if info.nr == _OPENAT[machine] and not info.args[2] & (_O_CREAT | _O_TRUNC):
        return ""
    return _CHANGES[machine].get(info.nr, "")


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, data: int = 0, size: int = 0) -> None:
    """Call ptrace(2); where `size` is given it goes where an address would."""
    if _libc.ptrace(request, pid, size, data) < 0:
        number = ctypes.get_errno()
        raise FatalError(f"ptrace {request} is refused: {os.strerror(number)}")
