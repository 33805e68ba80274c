"""The score model `springs`: the law of Boltzmann for balls on springs, blurred by noise.

Around a minimum the density of atoms at temperature T, blurred by noise sigma, is a normal law of variance
kT / K + sigma^2, with K the stiffness that an atom feels. Its score is the force over kT + K sigma^2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from chggen_kit.interfaces import Capabilities, NoiseProcess, ScoreModel
from chggen_kit.processes import Fixed, TorusVE
from chggen_kit.state import BatchContext, CrystalBatch, Fields, Known
from chggen_kit.torus import neighbours, wrap
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from chggen_springs.bonds import CUTOFF_A, ELEMENTS, bonds


class SpringsScoreModelOptions(BaseModel):
    """Options of `springs`, which the command line takes as `--backend-option NAME=VALUE`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spring_eV_A2: float = Field(2.0, gt=0, description="stiffness of a bond in eV/Å^2")
    thermal_eV: float = Field(1e-4, gt=0, description="kT of the atoms in a crystal without noise, in eV")


class SpringsScoreModel(ScoreModel):
    """Diffuses coordinates, isotropically in Å; species and cells are given."""

    def __init__(self, options: SpringsScoreModelOptions) -> None:
        self.options = options
        self._torus = TorusVE(sigma_min=0.01, sigma_max=5.0)

    @property
    def capabilities(self) -> Capabilities:
        """What the kit may rely on; `chggen plugins check` measures it."""
        return Capabilities(
            diffused=("frac_coords",),
            elements=ELEMENTS,
            max_atoms=None,
            time_unit="sigma in Å",
            lattice_gauge="any",
            rotation_equivariant=True,
            inversion_equivariant=True,
            translation_invariant=True,
            masks=("frac_coords",),
            devices=("cpu",),
            licence="MIT",
            checkpoint="springs",
            checkpoint_sha256="",
        )

    @property
    def processes(self) -> Mapping[str, NoiseProcess]:
        return {"frac_coords": self._torus, "species": Fixed("atom"), "lattice": Fixed("crystal")}

    def times(self, num_steps: int) -> Sequence[float]:
        return self._torus.times(num_steps)

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        known.check(batch)
        fields = {
            "frac_coords": wrap(batch.frac_coords.double()),
            "species": batch.species.clone(),
            "lattice": batch.lattice.double().clone(),
        }
        return Fields(fields, BatchContext.of(batch))

    def decode(self, fields: Fields) -> CrystalBatch:
        return CrystalBatch(wrap(fields["frac_coords"]), fields["lattice"], fields["species"], fields.context.num_atoms)

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        """The score times sigma `[n_atoms, 3]`, which is what `TorusVE` expects; `t` `[n_crystals]` is sigma in Å."""
        context, species = fields.context, fields["species"]
        edges = neighbours(fields["frac_coords"], fields["lattice"], context.num_atoms, CUTOFF_A)
        length = edges.vector.norm(dim=1)
        bond = bonds(length, species[edges.source], species[edges.target], self.options.spring_eV_A2)
        # Where two atoms coincide the direction of the force is anybody's guess: there is none.
        pull = (bond.slope_eV_A / length.clamp(min=1e-6))[:, None] * edges.vector
        force = torch.zeros_like(fields["frac_coords"]).index_add(0, edges.target, pull)
        stiffness = force.new_zeros(context.n_atoms).index_add(0, edges.target, bond.stiffness_eV_A2) / 3
        sigma = t.double()[context.crystal_index]
        score = force / (self.options.thermal_eV + stiffness * sigma**2)[:, None]
        return Fields({"frac_coords": score * sigma[:, None]}, context)


def build(options: SpringsScoreModelOptions) -> SpringsScoreModel:
    """What the kit calls to make `springs`."""
    return SpringsScoreModel(options)
