"""Small textbook crystals for checks and tests, built from their Wyckoff positions; nothing is read from files."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import torch

from chggen_kit.errors import InputError
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import to_fractional, wrap

_FACES = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))


def _faces(shift: float) -> list[tuple[float, float, float]]:
    return [(a + shift, b + shift, c + shift) for a, b, c in _FACES]


def rocksalt(cation: int, anion: int, a: float) -> CrystalBatch:
    """Conventional cell of rocksalt, 8 atoms; `a` in Å."""
    return _cubic(a, [cation] * 4 + [anion] * 4, _faces(0.0) + _faces(0.5))


def zincblende(cation: int, anion: int, a: float) -> CrystalBatch:
    """Conventional cell of zincblende (diamond for two equal species), 8 atoms; `a` in Å."""
    return _cubic(a, [cation] * 4 + [anion] * 4, _faces(0.0) + _faces(0.25))


def fluorite(cation: int, anion: int, a: float) -> CrystalBatch:
    """Conventional cell of fluorite, 12 atoms; `a` in Å."""
    return _cubic(a, [cation] * 4 + [anion] * 8, _faces(0.0) + _faces(0.25) + _faces(0.75))


def perovskite(a_site: int, b_site: int, anion: int, a: float) -> CrystalBatch:
    """Cubic perovskite, 5 atoms; `a` in Å."""
    sites = [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)]
    return _cubic(a, [a_site, b_site, anion, anion, anion], sites)


def caesium_chloride(cation: int, anion: int, a: float) -> CrystalBatch:
    """Caesium chloride structure, 2 atoms; `a` in Å."""
    return _cubic(a, [cation, anion], [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5)])


def wurtzite(cation: int, anion: int, a: float, c: float) -> CrystalBatch:
    """Wurtzite with the ideal u = 3/8, 4 atoms in a hexagonal cell (angle of 120 degrees); `a` and `c` in Å."""
    sites = [(1 / 3, 2 / 3, 0.0), (2 / 3, 1 / 3, 0.5), (1 / 3, 2 / 3, 0.375), (2 / 3, 1 / 3, 0.875)]
    cell = [[a, 0.0, 0.0], [-a / 2, a * 3**0.5 / 2, 0.0], [0.0, 0.0, c]]
    return CrystalBatch(
        frac_coords=torch.tensor(sites, dtype=torch.float64),
        lattice=torch.tensor([cell], dtype=torch.float64),
        species=torch.tensor([cation, cation, anion, anion], dtype=torch.int64),
        num_atoms=torch.tensor([4]),
    )


def face_centred(element: int, a: float) -> CrystalBatch:
    """Conventional cell of a face-centred cubic element, 4 atoms; `a` in Å."""
    return _cubic(a, [element] * 4, list(_FACES))


def _cubic(a: float, species: list[int], sites: list[tuple[float, float, float]]) -> CrystalBatch:
    return CrystalBatch(
        frac_coords=torch.tensor(sites, dtype=torch.float64),
        lattice=a * torch.eye(3, dtype=torch.float64)[None],
        species=torch.tensor(species, dtype=torch.int64),
        num_atoms=torch.tensor([len(species)]),
    )


def textbook_crystals() -> CrystalBatch:
    """Ten textbook crystals with lattice parameters from experiment, rounded; 2 to 12 atoms each."""
    return CrystalBatch.concatenate(
        [
            rocksalt(11, 17, 5.64),
            rocksalt(12, 8, 4.21),
            fluorite(20, 9, 5.46),
            fluorite(40, 8, 5.09),
            zincblende(30, 16, 5.41),
            zincblende(14, 14, 5.43),
            perovskite(38, 22, 8, 3.91),
            caesium_chloride(55, 17, 4.12),
            face_centred(29, 3.61),
            face_centred(13, 4.05),
        ]
    )


def disturbed(batch: CrystalBatch, *, rattle_A: float, strain: float, seed: int) -> CrystalBatch:
    """Copy with normal displacements (standard deviation `rattle_A`, Å) and normal symmetric strains (`strain`)."""
    generator = torch.Generator().manual_seed(seed)
    distortion = strain * torch.randn(batch.n_crystals, 3, 3, generator=generator, dtype=torch.float64)
    lattice = batch.lattice @ (torch.eye(3, dtype=torch.float64) + (distortion + distortion.transpose(1, 2)) / 2)
    moved = rattle_A * torch.randn(batch.n_atoms, 3, generator=generator, dtype=torch.float64)
    frac = wrap(batch.frac_coords + to_fractional(moved, lattice, batch.crystal_index))
    return CrystalBatch(frac, lattice, batch.species, batch.num_atoms)


def covered(batch: CrystalBatch, elements: Collection[int]) -> CrystalBatch:
    """The crystals of `batch` that are made of `elements` (atomic numbers) alone.

    Raises:
        InputError: when there is none.
    """
    bounds = batch.offsets.tolist()
    chosen = [
        crystal
        for crystal, (low, high) in enumerate(pairwise(bounds))
        if set(batch.species[low:high].tolist()) <= set(elements)
    ]
    if not chosen:
        raise InputError("No crystal of the batch is made of the elements covered; give a batch of your own.")
    return batch.select(chosen)
