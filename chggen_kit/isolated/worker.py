"""The worker: makes one plug-in's product in this interpreter and answers requests until its input ends."""

from __future__ import annotations

import os
import platform
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from chggen_kit import __version__
from chggen_kit.errors import PluginError
from chggen_kit.interfaces import Potential, ScoreModel
from chggen_kit.isolated.frames import PROTOCOL, pack, unpack
from chggen_kit.isolated.plain import description, error_to_plain, from_plain, to_plain
from chggen_kit.plugins import Origin, PluginEntry, get_registry
from chggen_kit.plugins.requirements import pip_line, unmet
from chggen_kit.processes import to_spec
from chggen_kit.state import BatchContext, CrystalBatch, Fields, Known

Tensors = Mapping[str, Tensor]
Answer = tuple[dict[str, Any], dict[str, Tensor]]


def serve(incoming: int, outgoing: int) -> None:
    """Answer the frames of the file descriptor `incoming` on `outgoing`; ends the process when the input ends."""
    requests: queue.SimpleQueue[tuple[dict[str, Any], dict[str, Tensor]]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(incoming, requests), daemon=True).start()
    hello = {"protocol": PROTOCOL, "kit": __version__, "python": platform.python_version(), "torch": torch.__version__}
    _send(outgoing, pack({"hello": hello}))
    server = _Server()
    while True:
        header, tensors = requests.get()
        try:
            answer, results = server.answer(header, tensors)
            frame = pack({"id": header["id"], "answer": answer}, results)
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is for the other side to report
            traceback.print_exc()
            frame = pack({"id": header["id"], "error": error_to_plain(error)})
        _send(outgoing, frame)


def _receive(incoming: int, requests: queue.SimpleQueue[tuple[dict[str, Any], dict[str, Tensor]]]) -> None:
    """Queue what comes in. The end of the input ends the process at once, in the midst of a computation too."""
    stream = os.fdopen(incoming, "rb")

    def read(count: int) -> bytes:
        data = stream.read(count)
        if len(data) < count:
            raise EOFError
        return data

    try:
        while True:
            requests.put(unpack(read))
    except EOFError:
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing can be answered on a channel that is out of step
        traceback.print_exc()
        os._exit(1)


def _send(outgoing: int, frame: bytes) -> None:
    rest = memoryview(frame)
    try:
        while rest:
            rest = rest[os.write(outgoing, rest) :]
    except OSError:  # nobody listens any more
        os._exit(0)


class _Server:
    """The product of one plug-in, and the private notes of the batches that it has encoded."""

    def __init__(self) -> None:
        self._product: object = None
        self._contexts: dict[int, tuple[BatchContext, torch.device]] = {}
        self._count = 0

    def answer(self, header: Mapping[str, Any], tensors: Tensors) -> Answer:
        """Answer of one request.

        Raises:
            PluginError: for a request that does not fit what was loaded.
        """
        if torch.get_num_threads() != header["threads"]:
            torch.set_num_threads(header["threads"])
        for handle in header["release"]:
            self._contexts.pop(handle, None)
        call, product = header["call"], self._product
        if call == "load":
            return self._load(header)
        if isinstance(product, Potential) and call == "evaluate":
            return self._evaluate(product, tensors)
        if isinstance(product, ScoreModel):
            if call in _QUESTIONS:
                return {"value": _QUESTIONS[call](product, header)}, {}
            if call in _COMPUTATIONS:
                return _COMPUTATIONS[call](self, product, header, tensors)
        raise PluginError(f"This worker was asked for {call!r} of a {type(product).__name__}.")

    def _load(self, header: Mapping[str, Any]) -> Answer:
        if header["protocol"] != PROTOCOL:
            raise PluginError(
                f"The kit speaks version {header['protocol']} of the protocol, its worker version {PROTOCOL}: use the "
                "same version of chggen-kit on both sides."
            )
        self._product = product = _create(header)
        if isinstance(product, Potential):
            return {"info": description(product.info)}, {}
        if isinstance(product, ScoreModel):
            processes = {name: to_plain(to_spec(process)) for name, process in product.processes.items()}
            return {"capabilities": description(product.capabilities), "processes": processes}, {}
        raise PluginError(f"A {type(product).__name__} cannot be run in another environment.")

    @staticmethod
    def _evaluate(potential: Potential, tensors: Tensors) -> Answer:
        result = potential.evaluate(_batch(tensors))
        return {}, {"energies": result.energies, "forces": result.forces, "stresses": result.stresses}

    def encode(self, model: ScoreModel, header: Mapping[str, Any], tensors: Tensors) -> Answer:
        """The model's fields of a batch, and a handle for its notes."""
        del header
        known = Known(*(tensors[f"known.{name}"] for name in ("frac_coords", "species", "lattice")))
        fields = model.encode(_batch(tensors), known)
        self._count += 1
        self._contexts[self._count] = fields.context, fields.context.num_atoms.device
        context = {"num_atoms": fields.context.num_atoms, "crystal_index": fields.context.crystal_index}
        if fields.context.basis is not None:
            context["basis"] = fields.context.basis
        values = {f"field.{name}": tensor for name, tensor in fields.items()}
        return {"handle": self._count, "names": list(fields)}, {**context, **values}

    def _fields(self, header: Mapping[str, Any], tensors: Tensors) -> Fields:
        """The other side's fields, on the model's device and with its notes."""
        encoded = self._contexts.get(header["handle"])
        if encoded is None:
            raise PluginError("These fields were not encoded by this score model, or their batch is gone.")
        context, device = encoded
        values = {name: tensors[f"field.{name}"].to(device) for name in header["names"]}
        return Fields(
            values,
            BatchContext(tensors["num_atoms"].to(device), tensors["crystal_index"].to(device), context.private),
        )

    def decode(self, model: ScoreModel, header: Mapping[str, Any], tensors: Tensors) -> Answer:
        """The crystals of fields."""
        batch = model.decode(self._fields(header, tensors))
        return {}, {name: getattr(batch, name) for name in _BATCH}

    def predict(self, model: ScoreModel, header: Mapping[str, Any], tensors: Tensors) -> Answer:
        """The network's output for fields."""
        fields = self._fields(header, tensors)
        with torch.no_grad():
            result = model.predict(fields, tensors["t"].to(fields.context.num_atoms.device))
        return {"names": list(result)}, {f"field.{name}": tensor for name, tensor in result.items()}


def _create(header: Mapping[str, Any]) -> object:
    """What the request names: as the kit describes the plug-in, or else as this environment's own entry points do."""
    registry, kind, name = get_registry(), header["kind"], header["name"]
    options = from_plain(header["options"])
    described = header["entry"]
    if described is None:
        return registry.create_here(registry.get_here(kind, name), options)
    origin = Origin(**described["origin"])
    missing = unmet(described["requires"], f"{kind} {name!r}")
    if missing:
        raise PluginError(
            f"The {kind} {name!r} needs {', '.join(missing)}, which the environment of {sys.executable} does not have. "
            f"Install it with: {sys.executable} -m {pip_line(missing, origin.distribution)}"
        )
    entry = PluginEntry(kind, name, described["factory"], described["options"], "", origin)
    return registry.create_here(entry, options)


def _batch(tensors: Tensors) -> CrystalBatch:
    return CrystalBatch(*(tensors[name] for name in _BATCH))


def _times(model: ScoreModel, header: Mapping[str, Any]) -> list[float]:
    return [float(t) for t in model.times(int(header["steps"]))]


def _never_trained_on(model: ScoreModel, header: Mapping[str, Any]) -> list[str] | None:
    formulas = model.never_trained_on(header["formulas"])
    return None if formulas is None else sorted(formulas)


_BATCH = ("frac_coords", "lattice", "species", "num_atoms")
_QUESTIONS: dict[str, Callable[[ScoreModel, Mapping[str, Any]], object]] = {
    "times": _times,
    "never-trained-on": _never_trained_on,
}
"""What is answered in plain JSON, with no tensor either way."""
_COMPUTATIONS: dict[str, Callable[[_Server, ScoreModel, Mapping[str, Any], Tensors], Answer]] = {
    "encode": _Server.encode,
    "decode": _Server.decode,
    "predict": _Server.predict,
}
