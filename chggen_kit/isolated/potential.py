"""A potential that runs in another environment."""

from __future__ import annotations

from typing import Any

from chggen_kit.interfaces import Evaluation, Potential, PotentialInfo
from chggen_kit.isolated.plain import from_description
from chggen_kit.isolated.process import Worker
from chggen_kit.state import CrystalBatch


class IsolatedPotential(Potential):
    """Twin of the potential that `worker` holds; equal to it bit for bit.

    Args:
        worker: the process.
        facts: its answer to `load`.
    """

    def __init__(self, worker: Worker, facts: dict[str, Any]) -> None:
        self._worker = worker
        self._info = from_description(PotentialInfo, facts["info"])

    @property
    def info(self) -> PotentialInfo:
        """What the potential is."""
        return self._info

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        """Energies, forces and stresses of `batch`.

        Raises:
            InputError: when an element is not covered.
            PluginError: when the worker fails (see `Worker.request`).
        """
        _, result = self._worker.request("evaluate", batch_tensors(batch))
        return Evaluation(result["energies"], result["forces"], result["stresses"])

    def close(self) -> None:
        """End the worker; leaving the program, or dropping this object, does the same."""
        self._worker.close()


def batch_tensors(batch: CrystalBatch) -> dict[str, Any]:
    """Tensors of `batch` by name."""
    return {name: getattr(batch, name) for name in ("frac_coords", "lattice", "species", "num_atoms")}
