"""Plug-ins that misbehave, for the tests of isolation; imported in workers by their import strings."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from chggen_kit import hookimpl
from chggen_kit.errors import CheckpointError
from chggen_kit.interfaces import Evaluation, Potential, PotentialInfo
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.pair_potential import PairPotential

KILLED_AT = 25
"""Evaluation at which the fault `killed-once` ends the worker: amid a run."""
RAISE, MEMORY = 3, 4
"""Numbers of crystals for which the toy raises an error that is not the kit's, or runs out of memory."""


class ToyOptions(BaseModel):
    """How to misbehave in `evaluate`."""

    fault: str = ""
    marker: str = ""
    """File that the fault `killed-once` leaves behind: no worker is killed while it is there."""


class Toy(Potential):
    """The pair potential, with faults on request: of the options, or told by the number of crystals."""

    def __init__(self, options: ToyOptions) -> None:
        self.right = PairPotential()
        self.fault = options.fault
        self.marker = Path(options.marker)
        self.calls = 0

    @property
    def info(self) -> PotentialInfo:
        # A run is the same run in whatever process its potential was.
        name = "toy" if self.fault == "killed-once" else f"toy of {os.getpid()}"
        return replace(self.right.info, name=name)

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        sys.stdout.write("a line on standard output\n")
        os.write(1, b"CHGW and bytes that look like a frame\n")
        if self.fault == "crash":
            sys.stderr.write("the last words\n")
            sys.stderr.flush()
            os.abort()
        if self.fault == "leave":
            os._exit(7)
        self.calls += 1
        if self.fault == "killed-once" and self.calls == KILLED_AT and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            time.sleep(600)
        if batch.n_crystals == RAISE:
            raise ZeroDivisionError("nobody is told to catch this")
        if batch.n_crystals == MEMORY:
            raise MemoryError("too many atoms")
        return self.right.evaluate(batch)


def load(options: ToyOptions) -> Toy:
    if options.fault == "checkpoint":
        raise CheckpointError("no such weights")
    return Toy(options)


@hookimpl
def chggen_kit_register_potentials(register: Any) -> None:
    register("toy", "isolated_toys:load", options="isolated_toys:ToyOptions")
    register("needy", "isolated_toys:load", options="isolated_toys:ToyOptions", requires=("no-such-library>=1",))
