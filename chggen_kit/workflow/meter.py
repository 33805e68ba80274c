"""What a piece of work costs: CPU and wall time, and the peak of memory."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


@dataclass(frozen=True)
class Cost:
    """Cost of a piece of work.

    Attributes:
        seconds: wall time in s.
        cpu_seconds: time of all threads of this process in s; other processes (isolated plug-ins) are not seen.
        peak_memory_MB: largest resident memory of the process meanwhile, in 10^6 bytes. Where the system cannot set
            the peak back (only Linux can), since the process began.
    """

    seconds: float
    cpu_seconds: float
    peak_memory_MB: float


class Meter:
    """Measures from its creation on."""

    def __init__(self) -> None:
        with suppress(OSError):  # no Linux, or forbidden: the peak is then the process's own
            _RESET.write_text(_RESET_PEAK)
        self._began = time.perf_counter()
        self._cpu = time.process_time()

    def read(self) -> Cost:
        """The cost so far."""
        return Cost(time.perf_counter() - self._began, time.process_time() - self._cpu, peak_memory_MB())


def peak_memory_MB() -> float:  # noqa: N802 - units are part of the name
    """Largest resident memory of this process since its peak was set back, in 10^6 bytes."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
