"""Child processes that do not outlive their parent."""

import ctypes
import signal
import subprocess
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
"""The value of PR_SET_PDEATHSIG for prctl(2)."""


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Return a function that a child runs before exec, so that it gets this signal when its parent dies in any way."""
    libc = ctypes.CDLL(None)

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)

    return tie


def stop(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Terminate a child process, and kill it after `seconds`. Returns whether it ended by itself."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
