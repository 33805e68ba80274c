"""Space groups by moyopy, under a time limit."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.metrics.symmetry import SpaceGroup, SymmetryFailure, to_cell

TIME_LIMIT_S = 5.0
_SCRIPT = Path(__file__).with_name("moyopy_loop.py")


def moyopy_version() -> str | None:
    """`moyopy` and its version; None where it is not installed."""
    try:
        return f"moyopy {version('moyopy')}"
    except PackageNotFoundError:
        return None


class MoyopyProcess:
    """Names space groups with moyopy in a process of its own, one question after another; a context manager.

    Where many atoms lie within the tolerance moyopy can go on for ever, and cannot be interrupted: the process is
    ended after `time_limit_s` seconds, and the next question starts another.

    Raises:
        InputError: when moyopy is not installed.
    """

    def __init__(self, time_limit_s: float = TIME_LIMIT_S) -> None:
        library = moyopy_version()
        if library is None:
            raise InputError(
                "Space groups are to be named by moyopy, which is not installed: pip install 'chggen-kit[moyo]'. "
                "spglib needs nothing more."
            )
        self.library = library
        self._time_limit_s = time_limit_s
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def space_group(
        self, structure: Structure, symprec_A: float, angle_tolerance_deg: float
    ) -> SpaceGroup | SymmetryFailure:
        """Space group of `structure` within the tolerances.

        Reasons of failure: `moyopy_timeout`, `moyopy_failed`.
        """
        lattice, frac, numbers = to_cell(structure)
        answer = self._ask(
            {
                "lattice": lattice.tolist(),
                "positions": frac.tolist(),
                "numbers": numbers,
                "symprec_A": symprec_A,
                "angle_tolerance_deg": angle_tolerance_deg,
            }
        )
        if isinstance(answer, SymmetryFailure):
            return answer
        if "failure" in answer:
            return SymmetryFailure(
                "moyopy_failed", f"moyopy found no space group within {symprec_A} Å ({answer['failure']})."
            )
        return SpaceGroup(
            int(str(answer["number"])), str(answer["symbol"]), symprec_A, angle_tolerance_deg, self.library
        )

    def _ask(self, task: dict[str, object]) -> dict[str, object] | SymmetryFailure:
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("The process for moyopy was started without its pipes.")
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self._time_limit_s)
            line = process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = ""
        if line is None:
            self.close()
            return SymmetryFailure("moyopy_timeout", f"moyopy found no space group within {self._time_limit_s:g} s.")
        if not line:
            self.close()
            return SymmetryFailure("moyopy_failed", "The process in which moyopy runs has ended by itself.")
        answer: dict[str, object] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._process

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None
