"""Batched crystals, masks and model fields: the tensors that every part of the kit exchanges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from chggen_kit.errors import InputError

FIELD_NAMES = ("frac_coords", "species", "lattice")
"""The canonical field names; `Known` has one mask for each."""


@dataclass(frozen=True)
class CrystalBatch:
    """Crystals laid end to end.

    Attributes:
        frac_coords: fractional coordinates `[n_atoms, 3]`, folded into [0, 1).
        lattice: rows a, b, c in Å `[n_crystals, 3, 3]`.
        species: atomic numbers `[n_atoms]`, int64.
        num_atoms: atoms of each crystal `[n_crystals]`, int64, all at least 1.

    Raises:
        InputError: when shapes or dtypes do not fit together.
    """

    frac_coords: Tensor
    lattice: Tensor
    species: Tensor
    num_atoms: Tensor

    def __post_init__(self) -> None:
        n_atoms, n_crystals = int(self.species.shape[0]), int(self.num_atoms.shape[0])
        for name, tensor, shape in (
            ("frac_coords", self.frac_coords, (n_atoms, 3)),
            ("lattice", self.lattice, (n_crystals, 3, 3)),
            ("species", self.species, (n_atoms,)),
            ("num_atoms", self.num_atoms, (n_crystals,)),
        ):
            if tuple(tensor.shape) != shape:
                raise InputError(f"CrystalBatch.{name} has shape {tuple(tensor.shape)}, expected {shape}.")
        if self.species.dtype != torch.int64 or self.num_atoms.dtype != torch.int64:
            raise InputError("CrystalBatch.species and num_atoms must be int64.")
        if int(self.num_atoms.sum()) != n_atoms or bool((self.num_atoms < 1).any()):
            raise InputError(
                f"CrystalBatch.num_atoms {self.num_atoms.tolist()} does not add up to {n_atoms} atoms, "
                "or holds a crystal without atoms."
            )

    @property
    def n_crystals(self) -> int:
        """Number of crystals."""
        return int(self.num_atoms.shape[0])

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all crystals together."""
        return int(self.species.shape[0])

    @cached_property
    def crystal_index(self) -> Tensor:
        """Crystal of each atom `[n_atoms]`, int64."""
        return torch.repeat_interleave(torch.arange(self.n_crystals, device=self.num_atoms.device), self.num_atoms)

    @cached_property
    def offsets(self) -> Tensor:
        """First atom of each crystal, and one past the last `[n_crystals + 1]`, int64."""
        return torch.nn.functional.pad(self.num_atoms.cumsum(0), (1, 0))

    @property
    def volumes(self) -> Tensor:
        """Cell volumes in Å^3 `[n_crystals]` (positive for either handedness)."""
        determinant: Tensor = torch.linalg.det(self.lattice)
        return determinant.abs()

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> CrystalBatch:
        """Copy with the floating-point tensors in `dtype` and everything on `device`."""
        return CrystalBatch(
            self.frac_coords.to(dtype=dtype, device=device),
            self.lattice.to(dtype=dtype, device=device),
            self.species.to(device=device),
            self.num_atoms.to(device=device),
        )

    def select(self, crystals: Sequence[int]) -> CrystalBatch:
        """Batch of the named crystals, in the order given (repeats allowed)."""
        bounds = self.offsets.tolist()
        atoms = torch.cat([torch.arange(bounds[c], bounds[c + 1], device=self.species.device) for c in crystals])
        index = torch.as_tensor(list(crystals), device=self.num_atoms.device)
        return CrystalBatch(self.frac_coords[atoms], self.lattice[index], self.species[atoms], self.num_atoms[index])

    @classmethod
    def concatenate(cls, batches: Sequence[CrystalBatch]) -> CrystalBatch:
        """One batch of all crystals of `batches`, in order."""
        if not batches:
            raise InputError("Cannot concatenate an empty list of batches.")
        return cls(
            torch.cat([b.frac_coords for b in batches]),
            torch.cat([b.lattice for b in batches]),
            torch.cat([b.species for b in batches]),
            torch.cat([b.num_atoms for b in batches]),
        )


@dataclass(frozen=True)
class Known:
    """Which values are given (True) and which are to be generated (False).

    Attributes:
        frac_coords: bool `[n_atoms]`.
        species: bool `[n_atoms]`.
        lattice: bool `[n_crystals]`.
    """

    frac_coords: Tensor
    species: Tensor
    lattice: Tensor

    def __post_init__(self) -> None:
        for name in FIELD_NAMES:
            mask: Tensor = getattr(self, name)
            if mask.dtype != torch.bool or mask.ndim != 1:
                raise InputError(f"Known.{name} must be a one-dimensional bool tensor, not {mask.dtype} {mask.shape}.")

    def check(self, batch: CrystalBatch) -> None:
        """Raise `InputError` unless the masks have the sizes of `batch`."""
        for name, size in (
            ("frac_coords", batch.n_atoms),
            ("species", batch.n_atoms),
            ("lattice", batch.n_crystals),
        ):
            if getattr(self, name).shape[0] != size:
                raise InputError(f"Known.{name} has {getattr(self, name).shape[0]} entries, the batch needs {size}.")

    @classmethod
    def coordinates_only(cls, batch: CrystalBatch, given: Tensor | None = None) -> Known:
        """Species and lattice known; coordinates known where `given` `[n_atoms]` (nowhere by default)."""
        nothing = torch.zeros(batch.n_atoms, dtype=torch.bool, device=batch.species.device)
        return cls(
            frac_coords=nothing if given is None else given,
            species=torch.ones_like(nothing),
            lattice=torch.ones(batch.n_crystals, dtype=torch.bool, device=batch.species.device),
        )

    def select(self, batch: CrystalBatch, crystals: Sequence[int]) -> Known:
        """Masks of the named crystals of `batch`, in the order given."""
        bounds = batch.offsets.tolist()
        atoms = torch.cat([torch.arange(bounds[c], bounds[c + 1]) for c in crystals])
        return Known(self.frac_coords[atoms], self.species[atoms], self.lattice[torch.as_tensor(list(crystals))])


@dataclass(frozen=True)
class BatchContext:
    """What stays fixed while the fields of a batch are diffused.

    Attributes:
        num_atoms: `[n_crystals]`, int64.
        crystal_index: crystal of each atom `[n_atoms]`, int64.
        private: a backend's own notes between `encode` and `decode` (gauge rotations, the user's cell, ...).
        basis: matrices B of whole numbers with encoded coordinates = user's coordinates @ B, modulo 1
            `[n_crystals, 3, 3]`; None where the user's basis was kept.
    """

    num_atoms: Tensor
    crystal_index: Tensor
    private: Mapping[str, Any] = field(default_factory=dict)
    basis: Tensor | None = None

    @property
    def n_crystals(self) -> int:
        """Number of crystals."""
        return int(self.num_atoms.shape[0])

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all crystals together."""
        return int(self.crystal_index.shape[0])

    @classmethod
    def of(cls, batch: CrystalBatch, private: Mapping[str, Any] | None = None) -> BatchContext:
        """Context of `batch`."""
        return cls(batch.num_atoms, batch.crystal_index, private or {})


@dataclass(frozen=True)
class Fields(Mapping[str, Tensor]):
    """What a backend diffuses: field name to tensor, in the backend's own representation, with the batch's context.

    The names are those of `FIELD_NAMES`. A tensor's leading dimension is atoms for `frac_coords` and `species`,
    crystals for `lattice`; the process of a field declares it (`NoiseProcess.scope`), it is never guessed from shapes.
    """

    values_by_name: Mapping[str, Tensor]
    context: BatchContext

    def __getitem__(self, name: str) -> Tensor:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)

    def updated(self, **tensors: Tensor) -> Fields:
        """Copy with some fields replaced."""
        return replace(self, values_by_name={**self.values_by_name, **tensors})
