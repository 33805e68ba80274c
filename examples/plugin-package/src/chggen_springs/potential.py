"""The potential `springs`: balls on springs, for whatever needs a potential that is quick and harmless."""

from __future__ import annotations

from chggen_kit.interfaces import Evaluation, PotentialInfo
from chggen_kit.potentials import EdgePotential
from chggen_kit.state import CrystalBatch
from chggen_kit.torus import Neighbours
from pydantic import BaseModel, ConfigDict, Field

from chggen_springs.bonds import CUTOFF_A, ELEMENTS, bonds


class SpringsPotentialOptions(BaseModel):
    """Options of the potential, which the command line takes as `--potential-option NAME=VALUE`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spring_eV_A2: float = Field(2.0, gt=0, description="stiffness of a bond in eV/Å^2")


class SpringsPotential(EdgePotential):
    """The sum of all bonds; see `chggen_springs.bonds`."""

    def __init__(self, options: SpringsPotentialOptions) -> None:
        self.options = options

    @property
    def info(self) -> PotentialInfo:
        """What the kit may rely on; energies of springs are compared with those of springs alone."""
        return PotentialInfo(
            name="springs",
            energy_frame="springs",
            elements=ELEMENTS,
            cutoff_A=CUTOFF_A,
            max_atoms_per_batch=512,
            licence="MIT",
        )

    def compute_with_edges(self, batch: CrystalBatch, edges: Neighbours) -> Evaluation:
        """Energies in eV, forces in eV/Å and stresses in eV/Å^3 of `batch`; every bond is listed from both ends."""
        length = edges.vector.norm(dim=1)
        first, second = batch.species[edges.source], batch.species[edges.target]
        bond = bonds(length, first, second, self.options.spring_eV_A2)
        crystal = batch.crystal_index[edges.target]
        pull = (bond.slope_eV_A / length)[:, None] * edges.vector
        energies = batch.lattice.new_zeros(batch.n_crystals).index_add(0, crystal, bond.energy_eV / 2)
        forces = batch.lattice.new_zeros(batch.n_atoms, 3).index_add(0, edges.target, pull)
        virials = batch.lattice.new_zeros(batch.n_crystals, 3, 3)
        virials = virials.index_add(0, crystal, edges.vector[:, :, None] * pull[:, None, :] / 2)
        return Evaluation(energies, forces, virials / batch.volumes[:, None, None])


def build(options: SpringsPotentialOptions) -> SpringsPotential:
    """Make the potential: what the kit calls."""
    return SpringsPotential(options)
