"""What all checks share: laws that must not end the check, random states that must not move, and copies."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

import numpy as np
import torch

from chggen_kit.errors import InputError, unknown_name
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.report import LawResult

Law = Callable[[], LawResult]
Named = TypeVar("Named")


def measure(name: str, law: Law) -> LawResult:
    """Result of `law`, or a failed one of the same `name` that holds what was raised."""
    try:
        return law()
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is a finding, and the other laws still count
        return LawResult(name, float("nan"), 0.0, passed=False, detail=f"raised {type(error).__name__}: {error}")


def measure_all(laws: Iterable[tuple[str, Law]]) -> tuple[LawResult, ...]:
    """Results of named laws, in order, and of `global-random-state`; each is measured whatever the others raise."""
    before = global_random_states()
    results = [measure(name, law) for name, law in laws]
    return (*results, global_random_state_kept(before))


def chosen(laws: Iterable[tuple[str, Named]], only: Collection[str] | None) -> list[tuple[str, Named]]:
    """Those of named laws whose names are in `only`; all of them when it is None.

    Raises:
        InputError: for a name that none of them has.
    """
    named = list(laws)
    for name in only or ():
        if name not in {law for law, _ in named}:
            raise InputError(unknown_name("law", name, [law for law, _ in named]))
    return [(name, law) for name, law in named if only is None or name in only]


def global_random_state_kept(before: dict[str, str]) -> LawResult:
    """Whether nothing was drawn from the generators that the whole program shares since `global_random_states()`.

    What a plug-in draws must depend on its seed alone.
    """
    moved = [name for name, state in global_random_states().items() if state != before[name]]
    detail = f"drawn from: {', '.join(moved)}; use chggen_kit.draws or a generator of your own" if moved else ""
    return LawResult.of("global-random-state", holds=not moved, detail=detail)


def global_random_states() -> dict[str, str]:
    """Digests of the states of the shared generators of torch, numpy and Python."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the legacy state is what is watched
    states = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy.random": repr((name, np.asarray(keys).tobytes(), rest)).encode(),
        "random": repr(random.getstate()).encode(),
    }
    return {where: hashlib.blake2b(state).hexdigest() for where, state in states.items()}


def copied(batch: CrystalBatch) -> CrystalBatch:
    """Copy of `batch` that shares no memory with it."""
    return CrystalBatch(
        batch.frac_coords.clone(), batch.lattice.clone(), batch.species.clone(), batch.num_atoms.clone()
    )


def changed(batch: CrystalBatch, before: CrystalBatch) -> list[str]:
    """Names of the tensors of `batch` that are not what they were."""
    names = ("frac_coords", "lattice", "species", "num_atoms")
    return [name for name in names if not torch.equal(getattr(batch, name), getattr(before, name))]
