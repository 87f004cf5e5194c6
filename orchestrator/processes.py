"""Child processes that do not outlive their parent."""

import ctypes
import signal
import subprocess
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
"""prctl(2)"""


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A function for the child to run before exec: it gets this signal when its parent dies, however it dies."""
    libc = ctypes.CDLL(None)

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)

    return tie


def stop(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Ask a child to end, and make it after so many seconds; whether it ended by itself."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
