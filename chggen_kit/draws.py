"""Random draws that do not depend on batching: keyed by (seed, crystal id, step, pass, field, purpose).

Every crystal owns a counter-based stream (Philox 4x64): its 128-bit key is a hash of the seed and the crystal's id,
and the counter's upper words name the moment and the purpose. So a crystal's numbers are the same alone or in a
batch, in any order, and after a restart; and they can be recorded and replayed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chggen_kit.interfaces.processes import FieldDraws, Scope
from chggen_kit.interfaces.sampler import CrystalId

Moment = tuple[CrystalId, int, int, str, str]
"""Crystal, step, pass, field, purpose."""
Record = dict[Moment, npt.NDArray[np.float64]]


def _words(*parts: object, size: int) -> npt.NDArray[np.uint64]:
    text = "\x1f".join(str(part) for part in parts).encode()
    return np.frombuffer(hashlib.blake2b(text, digest_size=8 * size).digest(), dtype=np.uint64)


class Draws:
    """The random numbers of one batch.

    Args:
        seed: the run's seed.
        ids: identity of each crystal.
        num_atoms: atoms of each crystal.
        record: filled with everything that is drawn, when given.
        replay: numbers to return instead of drawing, by moment; a moment that is missing is drawn.
    """

    def __init__(
        self,
        seed: int,
        ids: Sequence[CrystalId],
        num_atoms: Sequence[int],
        *,
        record: Record | None = None,
        replay: Record | None = None,
    ) -> None:
        self.ids = tuple(ids)
        self.num_atoms = tuple(num_atoms)
        self._keys = [_words(seed, i.template, i.copy, size=2) for i in self.ids]
        self._purposes: dict[tuple[str, str], np.uint64] = {}
        self._record = record
        self._replay = replay or {}

    def generator(self, crystal: int, step: int, pass_: int, field: str, purpose: str) -> np.random.Generator:
        """The stream of one crystal at one moment."""
        name = (field, purpose)
        if name not in self._purposes:
            self._purposes[name] = _words(field, purpose, size=1)[0]
        counter = np.array([0, step, pass_, self._purposes[name]], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=self._keys[crystal], counter=counter))

    def at(self, step: int, pass_: int, field: str, scope: Scope) -> FieldDraws:
        """Draws for one field at one moment."""
        return _MomentDraws(self, step, pass_, field, scope)

    def fetch(
        self, kind: str, sizes: Sequence[tuple[int, ...]], step: int, pass_: int, field: str, purpose: str
    ) -> npt.NDArray[np.float64]:
        """Numbers of `kind` (`normal` or `uniform`), one block a crystal, laid end to end."""
        blocks = []
        for crystal, size in enumerate(sizes):
            moment = (self.ids[crystal], step, pass_, field, purpose)
            block = self._replay.get(moment)
            if block is None:
                generator = self.generator(crystal, step, pass_, field, purpose)
                block = generator.standard_normal(size) if kind == "normal" else generator.random(size)
            if self._record is not None:
                self._record[moment] = block
            blocks.append(block)
        return np.concatenate(blocks)


@dataclass(frozen=True)
class _MomentDraws:
    """`FieldDraws` over the streams of a `Draws`."""

    draws: Draws
    step: int
    pass_: int
    field: str
    scope: Scope

    def _like(self, kind: str, purpose: str, like: Tensor) -> Tensor:
        trailing = tuple(like.shape[1:])
        rows = self.draws.num_atoms if self.scope == "atom" else (1,) * len(self.draws.ids)
        numbers = self.draws.fetch(kind, [(n, *trailing) for n in rows], self.step, self.pass_, self.field, purpose)
        return torch.from_numpy(numbers).to(dtype=like.dtype, device=like.device)

    def normal(self, purpose: str, like: Tensor) -> Tensor:
        return self._like("normal", purpose, like)

    def uniform(self, purpose: str, like: Tensor) -> Tensor:
        return self._like("uniform", purpose, like)

    def categorical(self, purpose: str, probabilities: Tensor) -> Tensor:
        point = self._like("uniform", purpose, probabilities[:, :1].double())
        cumulative = probabilities.double().cumsum(dim=1)
        chosen = (point * cumulative[:, -1:] >= cumulative).sum(dim=1)
        return chosen.clamp(max=probabilities.shape[1] - 1)
