"""A score model that runs in another environment.

Its noise processes are rebuilt here from their descriptions; what it does with crystals crosses the pipe.
The private notes that a model keeps in a batch's context may be anything, so they stay in the worker, and the context
here holds a ticket for them; dropping the last copy of the ticket lets the worker forget them.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Capabilities, NoiseProcess, ScoreModel
from chggen_kit.isolated.plain import from_description, from_plain
from chggen_kit.isolated.potential import batch_tensors
from chggen_kit.isolated.process import Worker
from chggen_kit.processes import from_spec
from chggen_kit.state import FIELD_NAMES, BatchContext, CrystalBatch, Fields, Known

_TICKET = "isolated"


class _Ticket:
    """Stands for a context's private notes, which the worker keeps as long as this lives."""

    def __init__(self, worker: Worker, handle: int) -> None:
        self.worker, self.handle = worker, handle
        weakref.finalize(self, worker.release, handle).atexit = False

    def __copy__(self) -> _Ticket:
        return self

    def __deepcopy__(self, memo: object) -> _Ticket:
        return self


class IsolatedScoreModel(ScoreModel):
    """Twin of the score model that `worker` holds; equal to it bit for bit. All its tensors are on the CPU.

    Args:
        worker: the process.
        facts: its answer to `load`.

    Raises:
        PluginError: when one of its noise processes is not known here.
    """

    def __init__(self, worker: Worker, facts: dict[str, Any]) -> None:
        self._worker = worker
        capabilities = from_description(Capabilities, facts["capabilities"])
        # The keys of a mapping are texts in JSON.
        counts = {int(count): share for count, share in capabilities.atom_counts.items()}
        self._capabilities = replace(capabilities, atom_counts=counts)
        self._processes = {name: from_spec(from_plain(spec)) for name, spec in facts["processes"].items()}

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return self._capabilities

    @property
    def processes(self) -> Mapping[str, NoiseProcess]:
        """The noise process of every field, rebuilt from the worker's description."""
        return self._processes

    def times(self, num_steps: int) -> Sequence[float]:
        answer, _ = self._worker.request("times", steps=num_steps)
        return tuple(answer["value"])

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        masks = {f"known.{name}": getattr(known, name) for name in FIELD_NAMES}
        answer, tensors = self._worker.request("encode", {**batch_tensors(batch), **masks})
        private = {_TICKET: _Ticket(self._worker, int(answer["handle"]))}
        context = BatchContext(tensors["num_atoms"], tensors["crystal_index"], private, tensors.get("basis"))
        return _fields(answer["names"], tensors, context)

    def decode(self, fields: Fields) -> CrystalBatch:
        header, tensors = self._request(fields)
        _, result = self._worker.request("decode", tensors, **header)
        return CrystalBatch(result["frac_coords"], result["lattice"], result["species"], result["num_atoms"])

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        header, tensors = self._request(fields)
        answer, result = self._worker.request("predict", {**tensors, "t": t}, **header)
        return _fields(answer["names"], result, fields.context)

    def never_trained_on(self, formulas: Collection[str]) -> frozenset[str] | None:
        answer, _ = self._worker.request("never-trained-on", formulas=sorted(formulas))
        return None if answer["value"] is None else frozenset(answer["value"])

    def close(self) -> None:
        """End the worker; leaving the program, or dropping this object and its batches, does the same."""
        self._worker.close()

    def _request(self, fields: Fields) -> tuple[dict[str, Any], dict[str, Tensor]]:
        ticket = fields.context.private.get(_TICKET)
        if not isinstance(ticket, _Ticket) or ticket.worker is not self._worker:
            raise InputError(
                f"These fields were not encoded by the score model {self._capabilities.checkpoint}: give it what its "
                "own `encode` returned, with the context unchanged."
            )
        context = {"num_atoms": fields.context.num_atoms, "crystal_index": fields.context.crystal_index}
        values = {f"field.{name}": tensor for name, tensor in fields.items()}
        return {"handle": ticket.handle, "names": list(fields)}, {**context, **values}


def _fields(names: Sequence[str], tensors: Mapping[str, Tensor], context: BatchContext) -> Fields:
    return Fields({name: tensors[f"field.{name}"] for name in names}, context)
