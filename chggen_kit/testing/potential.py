"""`check_potential`: the laws of `Potential`, measured on any implementation."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Evaluation, Potential
from chggen_kit.state import CrystalBatch
from chggen_kit.testing.crystals import covered, disturbed, textbook_crystals
from chggen_kit.testing.measuring import chosen, copied, measure_all
from chggen_kit.testing.report import ConformanceReport, LawResult
from chggen_kit.torus import wrap

_SEED = 20240
_WIDTH = 1e-3
"""Å (or strain) of finite differences: wide enough for energies in float32, narrow enough for potentials with kinks
(CHGNet has them where three atoms are almost on a line: 4e-3 is off by 2 % there)."""


@dataclass(frozen=True)
class PotentialTolerances:
    """Largest deviations that pass; the defaults leave room for a network in float32.

    Attributes:
        energy_eV_atom: between two evaluations of one crystal, in eV/atom.
        force_eV_A: the same for components of forces, in eV/Å.
        stress_eV_A3: the same for components of stresses, in eV/Å^3.
        slope: between a derivative and finite differences, as a share of the forces' (or virials') root mean square.
        floor_eV_A: forces (or virials per atom in eV) below this count as this in `slope`.
    """

    energy_eV_atom: float = 1e-4
    force_eV_A: float = 1e-3
    stress_eV_A3: float = 1e-4
    slope: float = 1e-2
    floor_eV_A: float = 0.1


def check_potential(
    potential: Potential,
    batch: CrystalBatch | None = None,
    tolerances: PotentialTolerances | None = None,
    *,
    only: Collection[str] | None = None,
) -> ConformanceReport:
    """Measure every law of `Potential` on `potential`.

    Args:
        potential: what to check.
        batch: at least two crystals away from equilibrium, of covered elements, float64; by default disturbed textbook
            crystals (rocksalt, fluorite, perovskite, ...) of covered elements.
        tolerances: largest deviations that pass.
        only: names of the laws to measure; all by default.

    Returns:
        One result a law; `raise_if_failed()` of it raises `PluginError` with a table.

    Raises:
        InputError: when `batch` has fewer than two crystals, or no default crystals are covered.
    """
    crystals = _default_crystals(potential) if batch is None else batch.to(dtype=torch.float64, device="cpu")
    if crystals.n_crystals < 2:
        raise InputError(
            "check_potential needs at least two crystals, to tell a batch from its parts: pass `batch`, crystals of "
            "elements that the potential covers."
        )
    check = _Check(potential, crystals, tolerances or PotentialTolerances())
    return ConformanceReport(f"potential {potential.info.name}", measure_all(chosen(check.laws(), only)))


def _default_crystals(potential: Potential) -> CrystalBatch:
    known = covered(textbook_crystals(), potential.info.elements)
    return disturbed(known.select(range(min(known.n_crystals, 6))), rattle_A=0.1, strain=0.03, seed=_SEED)


class _Check:
    def __init__(self, potential: Potential, batch: CrystalBatch, tolerances: PotentialTolerances) -> None:
        self.potential, self.batch, self.tolerances = potential, batch, tolerances
        self.generator = torch.Generator().manual_seed(_SEED)
        self._plain: Evaluation | None = None

    @property
    def plain(self) -> Evaluation:
        if self._plain is None:
            self._plain = self.potential.evaluate(copied(self.batch))
        return self._plain

    def laws(self) -> list[tuple[str, Callable[[], LawResult]]]:
        return [
            ("info-complete", self.info_complete),
            ("outputs", self.outputs),
            ("forces-are-minus-gradient", self.forces),
            ("stress-is-strain-derivative", self.stress),
            ("energies-extensive", self.extensive),
            ("single-equals-batched", self.single),
            ("inputs-not-mutated", self.inputs),
            ("repeatable", self.repeatable),
            ("translation", self.translation),
            ("rotation", lambda: self.rotation("rotation", improper=False)),
            ("reflection", lambda: self.rotation("reflection", improper=True)),
            ("permutation", self.permutation),
            ("cell-choice", self.cell_choice),
            ("broken-crystal-alone", self.broken),
            ("unknown-element", self.unknown_element),
        ]

    def info_complete(self) -> LawResult:
        info = self.potential.info
        missing = [name for name in ("name", "energy_frame", "licence") if not getattr(info, name)]
        if not info.cutoff_A > 0:
            missing.append("cutoff_A")
        if info.max_atoms_per_batch < 1:
            missing.append("max_atoms_per_batch")
        if not info.elements or not info.elements <= set(range(1, 119)):
            missing.append("elements")
        return LawResult.of("info-complete", holds=not missing, detail=f"wrong or empty: {missing}" if missing else "")

    def outputs(self) -> LawResult:
        shapes = {
            "energies": (self.batch.n_crystals,),
            "forces": (self.batch.n_atoms, 3),
            "stresses": (self.batch.n_crystals, 3, 3),
        }
        wrong = []
        for name, shape in shapes.items():
            value: Tensor = getattr(self.plain, name)
            if tuple(value.shape) != shape:
                wrong.append(f"{name} has shape {tuple(value.shape)}, not {shape}")
            if value.dtype != torch.float64 or value.device.type != "cpu":
                wrong.append(f"{name} is {value.dtype} on {value.device}, not float64 on the cpu")
            if value.requires_grad:
                wrong.append(f"{name} is not detached")
            if not bool(torch.isfinite(value).all()):
                wrong.append(f"{name} is not finite")
        asymmetry = (self.plain.stresses - self.plain.stresses.transpose(1, 2)).abs().max().item()
        if not asymmetry <= self.tolerances.stress_eV_A3:
            wrong.append(f"stresses are not symmetric by {asymmetry:.2g} eV/Å^3")
        return LawResult.of("outputs", holds=not wrong, detail="; ".join(wrong))

    def forces(self) -> LawResult:
        batch, index = self.batch, self.batch.crystal_index
        direction = torch.randn(batch.n_atoms, 3, generator=self.generator, dtype=torch.float64)
        inverse = torch.linalg.inv(batch.lattice)[index]
        frac = torch.einsum("ai,aij->aj", direction, inverse)
        slope = self._slope(
            lambda h: CrystalBatch(wrap(batch.frac_coords + h * frac), batch.lattice, batch.species, batch.num_atoms)
        )
        expected = -_per_crystal((self.plain.forces * direction).sum(dim=1), batch)
        # a random direction has length one a component: the derivative spreads by the norm of all forces together
        norm = _per_crystal(self.plain.forces.square().sum(dim=1), batch).sqrt()
        scale = norm.clamp(min=self.tolerances.floor_eV_A)
        return self._compare_slopes("forces-are-minus-gradient", slope, expected, scale)

    def stress(self) -> LawResult:
        batch = self.batch
        direction = torch.randn(batch.n_crystals, 3, 3, generator=self.generator, dtype=torch.float64)
        direction = (direction + direction.transpose(1, 2)) / 2
        one = torch.eye(3, dtype=torch.float64)
        slope = self._slope(
            lambda h: CrystalBatch(
                batch.frac_coords, batch.lattice @ (one + h * direction), batch.species, batch.num_atoms
            )
        )
        virial = batch.volumes[:, None, None] * self.plain.stresses
        expected = (virial * direction).sum(dim=(1, 2))
        scale = torch.maximum(virial.flatten(1).norm(dim=1), self.tolerances.floor_eV_A * batch.num_atoms)
        return self._compare_slopes("stress-is-strain-derivative", slope, expected, scale)

    def _slope(self, moved: Callable[[float], CrystalBatch]) -> Tensor:
        """Derivative of the energies at 0 by a difference formula of fourth order `[n_crystals]`."""
        energy = {h: self.potential.evaluate(moved(h * _WIDTH)).energies for h in (-2, -1, 1, 2)}
        return (8 * (energy[1] - energy[-1]) - (energy[2] - energy[-2])) / (12 * _WIDTH)

    def _compare_slopes(self, law: str, slope: Tensor, expected: Tensor, scale: Tensor) -> LawResult:
        deviation = ((slope - expected).abs() / scale).detach()
        worst = int(deviation.nan_to_num(nan=torch.inf).argmax())
        return LawResult.at_most(
            law,
            float(deviation[worst]),
            self.tolerances.slope,
            f"crystal {worst}: finite difference {slope[worst]:.5g}, from the output {expected[worst]:.5g}",
        )

    def extensive(self) -> LawResult:
        batch = self.batch
        index = batch.crystal_index
        order = torch.cat([torch.arange(2).repeat_interleave(int(n)) for n in batch.num_atoms])
        atoms = torch.cat(
            [torch.arange(low, high).repeat(2) for low, high in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]
        )
        axis = index[atoms] % 3
        frac = batch.frac_coords[atoms]
        row = torch.arange(atoms.shape[0])
        frac[row, axis] = (frac[row, axis] + order) / 2
        lattice = batch.lattice.clone()
        crystal = torch.arange(batch.n_crystals)
        lattice[crystal, crystal % 3] *= 2
        result = self.potential.evaluate(CrystalBatch(frac, lattice, batch.species[atoms], 2 * batch.num_atoms))
        expected = Evaluation(2 * self.plain.energies, self.plain.forces[atoms], self.plain.stresses)
        return self._compare(
            "energies-extensive", result, expected, 2 * batch.num_atoms, "cells doubled along one axis"
        )

    def single(self) -> LawResult:
        parts = [self.potential.evaluate(self.batch.select([index])) for index in range(self.batch.n_crystals)]
        result = Evaluation(
            torch.cat([part.energies for part in parts]),
            torch.cat([part.forces for part in parts]),
            torch.cat([part.stresses for part in parts]),
        )
        return self._compare("single-equals-batched", result, self.plain, self.batch.num_atoms, "each crystal alone")

    def inputs(self) -> LawResult:
        given = copied(self.batch)
        self.potential.evaluate(given)
        names = ("frac_coords", "lattice", "species", "num_atoms")
        changed = [name for name in names if not torch.equal(getattr(given, name), getattr(self.batch, name))]
        return LawResult.of("inputs-not-mutated", holds=not changed, detail=f"changed: {changed}" if changed else "")

    def repeatable(self) -> LawResult:
        self.potential.evaluate(copied(self.batch.select([0])))
        again = self.potential.evaluate(copied(self.batch))
        return self._compare("repeatable", again, self.plain, self.batch.num_atoms, "a second evaluation")

    def translation(self) -> LawResult:
        batch = self.batch
        shift = torch.rand(batch.n_crystals, 3, generator=self.generator, dtype=torch.float64)[batch.crystal_index]
        moved = CrystalBatch(wrap(batch.frac_coords + shift), batch.lattice, batch.species, batch.num_atoms)
        result = self.potential.evaluate(moved)
        return self._compare("translation", result, self.plain, batch.num_atoms, "all atoms shifted")

    def rotation(self, law: str, *, improper: bool) -> LawResult:
        if improper and not self.potential.info.mirror_invariant:
            return LawResult.of(law, holds=True, detail="mirror images need not be equal, as the potential declares")
        batch = self.batch
        turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=self.generator, dtype=torch.float64))
        turn = turn * torch.linalg.det(turn).sign() * (-1 if improper else 1)
        turned = CrystalBatch(batch.frac_coords, batch.lattice @ turn, batch.species, batch.num_atoms)
        result = self.potential.evaluate(turned)
        expected = Evaluation(self.plain.energies, self.plain.forces @ turn, turn.t() @ self.plain.stresses @ turn)
        return self._compare(law, result, expected, batch.num_atoms, "cell and atoms turned")

    def permutation(self) -> LawResult:
        batch = self.batch
        order = torch.cat(
            [
                int(low) + torch.randperm(int(high - low), generator=self.generator)
                for low, high in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
            ]
        )
        shuffled = CrystalBatch(batch.frac_coords[order], batch.lattice, batch.species[order], batch.num_atoms)
        result = self.potential.evaluate(shuffled)
        expected = Evaluation(self.plain.energies, self.plain.forces[order], self.plain.stresses)
        return self._compare("permutation", result, expected, batch.num_atoms, "atoms in another order")

    def cell_choice(self) -> LawResult:
        batch = self.batch
        change = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 1.0]], dtype=torch.float64)
        other = CrystalBatch(
            wrap(batch.frac_coords @ torch.linalg.inv(change)), change @ batch.lattice, batch.species, batch.num_atoms
        )
        result = self.potential.evaluate(other)
        return self._compare("cell-choice", result, self.plain, batch.num_atoms, "other vectors of the same lattice")

    def broken(self) -> LawResult:
        law, middle = "broken-crystal-alone", self.batch.n_crystals // 2
        given = copied(self.batch)
        given.frac_coords[int(given.offsets[middle])] = torch.nan
        result = self.potential.evaluate(given)
        others = [index for index in range(given.n_crystals) if index != middle]
        rest = torch.isin(given.crystal_index, torch.tensor(others))
        numbers = [result.energies[middle], result.forces[~rest], result.stresses[middle]]
        if not all(bool(torch.isnan(value).all()) for value in numbers):
            return LawResult.of(law, holds=False, detail="a crystal with a NaN coordinate has values that are not NaN")
        return self._compare(
            law,
            Evaluation(result.energies[others], result.forces[rest], result.stresses[others]),
            Evaluation(self.plain.energies[others], self.plain.forces[rest], self.plain.stresses[others]),
            given.num_atoms[others],
            "the crystals beside one with a NaN coordinate",
        )

    def unknown_element(self) -> LawResult:
        law = "unknown-element"
        absent = sorted(set(range(1, 119)) - self.potential.info.elements)
        if not absent:
            return LawResult.of(law, holds=True, detail="every element is covered")
        given = copied(self.batch)
        given.species[0] = absent[0]
        try:
            self.potential.evaluate(given)
        except InputError:
            return LawResult.of(law, holds=True)
        return LawResult.of(law, holds=False, detail=f"no InputError for element {absent[0]}, which is not covered")

    def _compare(self, law: str, found: Evaluation, expected: Evaluation, atoms: Tensor, what: str) -> LawResult:
        tolerances = self.tolerances
        energy = ((found.energies - expected.energies).abs() / atoms).max().item()
        force = (found.forces - expected.forces).abs().max().item()
        stress = (found.stresses - expected.stresses).abs().max().item()
        ratios = torch.tensor(
            [energy / tolerances.energy_eV_atom, force / tolerances.force_eV_A, stress / tolerances.stress_eV_A3]
        )
        return LawResult.at_most(
            law,
            ratios.max().item(),
            1.0,
            f"{what}: off by {energy:.1e} eV/atom, {force:.1e} eV/Å, {stress:.1e} eV/Å^3 (measured over the limits)",
        )


def _per_crystal(values: Tensor, batch: CrystalBatch) -> Tensor:
    return values.new_zeros(batch.n_crystals).index_add_(0, batch.crystal_index, values)
