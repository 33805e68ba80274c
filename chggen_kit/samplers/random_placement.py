"""`random`: the null baseline. Unknown atoms go anywhere, uniformly, but not on top of others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from chggen_kit.samplers.placement import NO_ROOM, Array, SequentialPlacement
from chggen_kit.torus import heights


class RandomOptions(BaseModel):
    """Options of the `random` baseline."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_distance_A: float = Field(1.5, gt=0, description="no placed atom comes closer than this to any other, in Å")
    attempts: int = Field(200, ge=1, description="positions tried for each atom before the arrangement starts afresh")
    restarts: int = Field(20, ge=0, description="fresh arrangements tried before the crystal is given up (no-room)")


class RandomPlacement(SequentialPlacement):
    """Random sequential addition with a minimum distance, without a score model.

    Atoms whose coordinates are unknown are placed one after another, uniformly over the cell; a position closer than
    `min_distance_A` to any atom that is there already, periodic images included, is drawn again. A crystal that has no
    room gets the reason `no-room`. Distances among known atoms and between an atom and its own images are given by
    the template and not judged.
    """

    title = "random"

    def __init__(self, options: RandomOptions) -> None:
        self.options = options

    def _place(
        self, frac: Array, lattice: Array, given: npt.NDArray[np.bool_], generator: np.random.Generator
    ) -> tuple[Array, str | None]:
        reach = self.options.min_distance_A / heights(torch.from_numpy(lattice)[None])[0].numpy() + 0.5
        axes = [np.arange(-int(n), int(n) + 1) for n in reach]
        images = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        coords = frac.copy()
        for _ in range(self.options.restarts + 1):
            present = list(np.flatnonzero(given))
            for atom in np.flatnonzero(~given):
                candidates = generator.random((self.options.attempts, 3))
                free = self._is_free(candidates, coords[present], lattice, images)
                if not free.any():
                    break
                coords[atom] = candidates[int(np.argmax(free))]
                present.append(atom)
            else:
                return coords, None
        return coords, NO_ROOM

    def _is_free(
        self, candidates: Array, others: Array, lattice: Array, images: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        if len(others) == 0:
            return np.ones(len(candidates), dtype=np.bool_)
        offset = candidates[:, None] - others[None]
        offset -= np.round(offset)
        cart = (offset[:, :, None] + images[None, None]) @ lattice
        nearest = np.square(cart).sum(axis=-1).min(axis=(1, 2))
        free: npt.NDArray[np.bool_] = nearest >= self.options.min_distance_A**2
        return free


def build(options: RandomOptions) -> RandomPlacement:
    """Factory for the plug-in manager."""
    return RandomPlacement(options)
