"""Small plug-ins with known behaviour, registered through the real registry: they make runs of the pipeline fast."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict
from pymatgen.core import Structure
from torch import Tensor

from chggen_kit import hookimpl
from chggen_kit.errors import InputError
from chggen_kit.interfaces import (
    Evaluation,
    HostRefiner,
    Potential,
    PotentialInfo,
    Progress,
    RefinedHost,
    Sampler,
    SampleResult,
    SamplingTask,
    ScoreModel,
)
from chggen_kit.plugins import Registry
from chggen_kit.plugins.hookspecs import Register
from chggen_kit.state import BatchContext, CrystalBatch, Fields, Known
from chggen_kit.testing.analytic import AnalyticModel
from chggen_kit.torus import neighbours, to_cartesian, wrap, wrapped_normal_score


class SiteOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    spread: float = 0.3
    checkpoint: str | None = None


class SiteModel(AnalyticModel):
    """Atom i of any crystal is normal around site i of a fixed, evenly spread sequence: an exact score, any size."""

    def __init__(self, options: SiteOptions) -> None:
        super().__init__(8, 0.01, 5.0, translation_invariant=False)
        self.spread = options.spread

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        fields = {
            "frac_coords": wrap(batch.frac_coords.double()),
            "species": batch.species.clone(),
            "lattice": batch.lattice.double(),
        }
        return Fields(fields, BatchContext.of(batch))

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        index = fields.context.crystal_index
        first = torch.nn.functional.pad(fields.context.num_atoms.cumsum(0), (1, 0))[index]
        number = (torch.arange(index.shape[0]) - first + 1).double()
        sites = number[:, None] * torch.tensor([0.8191725134, 0.6710436067, 0.5497004779], dtype=torch.float64)
        away = to_cartesian(fields["frac_coords"] - sites, fields["lattice"], index)
        width = torch.sqrt(t.double() ** 2 + self.spread**2)
        score = wrapped_normal_score(away, fields["lattice"], index, width)
        return Fields({"frac_coords": score * t.double()[index][:, None]}, fields.context)


class PairPotential(Potential):
    """Sum over pairs of a soft repulsion with a minimum, the same for all elements: smooth, cheap, bound."""

    CUTOFF = 4.5

    @property
    def info(self) -> PotentialInfo:
        return PotentialInfo("pairs-1", "toy", frozenset(range(1, 90)), self.CUTOFF, 10_000, "MIT")

    def evaluate(self, batch: CrystalBatch) -> Evaluation:
        index = batch.crystal_index
        strain = torch.zeros(batch.n_crystals, 3, 3, dtype=torch.float64, requires_grad=True)
        frac = batch.frac_coords.double().clone().requires_grad_()
        symmetric = (strain + strain.transpose(1, 2)) / 2
        cell = batch.lattice.double() @ (torch.eye(3, dtype=torch.float64) + symmetric)
        found = neighbours(frac.detach(), batch.lattice.double(), batch.num_atoms, self.CUTOFF)
        crystal = index[found.source]
        apart = frac[found.source] + found.shift.double() - frac[found.target]
        r = torch.einsum("ei,eij->ej", apart, cell[crystal]).norm(dim=1)
        envelope = (1 - (r / self.CUTOFF) ** 2) ** 3
        decay = torch.exp(-1.8 * (r - 2.8))
        pair = 0.25 * (decay**2 - 2 * decay) * envelope
        energies = torch.zeros(batch.n_crystals, dtype=torch.float64).index_add(0, crystal, pair)
        slope_frac, slope_strain = torch.autograd.grad(energies.sum(), [frac, strain])
        inverse = torch.linalg.inv(batch.lattice.double())[index]
        forces = -torch.einsum("ai,aji->aj", slope_frac, inverse)
        return Evaluation(energies.detach(), forces, slope_strain / batch.volumes.double()[:, None, None])


class StripRefiner(HostRefiner):
    """Takes the guests out and calls what is left a host in its own cell; starts of odd volume (Å^3) give none."""

    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        host = structure.copy()
        counts = {symbol: sum(site.specie.symbol == symbol for site in structure) for symbol in guests}
        if not all(counts.values()):
            raise InputError(f"No {guests} in {structure.formula}.")
        host.remove_species(list(guests))
        if int(structure.volume) % 2:
            return []
        return [RefinedHost(host, counts, 5, "C2", 0.5, 15.0, 0.1, 0.05, "own", "toy 1")]


class NanSampler(Sampler):
    """Every second crystal is not finite: once told, once not told, in turn."""

    needs_model = False

    def sample(
        self, model: ScoreModel | None, task: SamplingTask, *, seed: int, progress: Progress | None = None
    ) -> SampleResult:
        crystals = task.templates
        frac = torch.rand(
            crystals.frac_coords.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        odd = crystals.crystal_index % 2 == 1
        frac[odd & ~task.known.frac_coords] = torch.nan
        reasons = tuple("non-finite" if crystal % 4 == 1 else None for crystal in range(crystals.n_crystals))
        return SampleResult(replace(crystals, frac_coords=frac), reasons, 0)


class NoHostRefiner(HostRefiner):
    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        return []


def build_model(options: SiteOptions) -> ScoreModel:
    return SiteModel(options)


@hookimpl
def chggen_kit_register_score_models(register: Register) -> None:
    register("sites", build_model, options=SiteOptions, summary="toy")


@hookimpl
def chggen_kit_register_potentials(register: Register) -> None:
    register("pairs", PairPotential, summary="toy")


@hookimpl
def chggen_kit_register_samplers(register: Register) -> None:
    register("nan", NanSampler, summary="toy")


@hookimpl
def chggen_kit_register_host_refiners(register: Register) -> None:
    register("strip", StripRefiner, summary="toy")
    register("no-host", NoHostRefiner, summary="toy")


def toy_registry(extra: Sequence[object] = ()) -> Registry:
    import workflow_toys

    from chggen_kit.plugins import builtin

    return Registry.from_modules([builtin, workflow_toys, *extra])


TOY_SETTINGS = {
    "backend": "sites",
    "potential": "pairs",
    "refiner": "strip",
    "sampler": {"name": "repaint", "options": {"steps": 8, "jump_length": 3, "passes": 2}},
    "unconditional_sampler": {"name": "predictor-corrector", "options": {"steps": 8}},
    "max_steps": 30,
    "references": "none",
    "volume_per_atom": 18.0,
    "null_rates": 2,
}
