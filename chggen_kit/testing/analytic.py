"""Score models whose distribution is known exactly: what samplers are tested against.

Both are real `ScoreModel`s: atoms are told apart by their atomic numbers (the first atom of a formula below is the
one with the smallest), and their score at noise level sigma is exact, because the convolution of wrapped normals is
a wrapped normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from chggen_kit.errors import InputError
from chggen_kit.interfaces.processes import NoiseProcess
from chggen_kit.interfaces.score_model import Capabilities, ScoreModel
from chggen_kit.processes import Fixed, TorusVE
from chggen_kit.state import BatchContext, CrystalBatch, Fields, Known
from chggen_kit.torus import to_cartesian, wrap, wrapped_normal


class AnalyticModel(ScoreModel):
    """Common part: fractional coordinates diffuse isotropically in Å, species and lattice are fixed; float64.

    Args:
        atoms: atoms that every crystal must have.
        sigma_min: smallest noise level in Å.
        sigma_max: largest noise level in Å.
        translation_invariant: what the model declares.
    """

    def __init__(self, atoms: int, sigma_min: float, sigma_max: float, *, translation_invariant: bool) -> None:
        self.atoms = atoms
        self._torus = TorusVE(sigma_min, sigma_max)
        self._capabilities = Capabilities(
            diffused=("frac_coords",),
            elements=frozenset(range(1, 119)),
            max_atoms=atoms,
            time_unit="sigma in Å",
            lattice_gauge="any",
            rotation_equivariant=True,
            inversion_equivariant=True,
            translation_invariant=translation_invariant,
            masks=("frac_coords",),
            devices=("cpu",),
            licence="MIT",
            checkpoint="analytic",
            checkpoint_sha256="",
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def processes(self) -> Mapping[str, NoiseProcess]:
        return {"frac_coords": self._torus, "species": Fixed("atom"), "lattice": Fixed("crystal")}

    def times(self, num_steps: int) -> Sequence[float]:
        return self._torus.times(num_steps)

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        known.check(batch)
        if not bool((batch.num_atoms == self.atoms).all()):
            raise InputError(f"This model describes crystals of {self.atoms} atoms, not {batch.num_atoms.tolist()}.")
        fields: dict[str, Tensor] = {
            "frac_coords": wrap(batch.frac_coords.double()),
            "species": batch.species.clone(),
            "lattice": batch.lattice.double(),
        }
        return Fields(fields, BatchContext.of(batch))

    def decode(self, fields: Fields) -> CrystalBatch:
        return CrystalBatch(wrap(fields["frac_coords"]), fields["lattice"], fields["species"], fields.context.num_atoms)

    def _by_species(self, fields: Fields, x: Tensor) -> Tensor:
        """Rows `[n_atoms, 3]` as `[n, atoms, 3]`, the atoms of each crystal in the order of their atomic numbers."""
        order = torch.argsort(fields["species"].reshape(-1, self.atoms), dim=1, stable=True)
        return torch.gather(x.reshape(-1, self.atoms, 3), 1, order[:, :, None].expand(-1, -1, 3))

    def _by_index(self, fields: Fields, x: Tensor) -> Tensor:
        """Inverse of `_by_species`."""
        order = torch.argsort(fields["species"].reshape(-1, self.atoms), dim=1, stable=True)
        return torch.zeros_like(x).scatter(1, order[:, :, None].expand(-1, -1, 3), x).reshape(-1, 3)

    def _wrapped_normal(self, fields: Fields, frac: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Score `[n, atoms, 3]` and log density `[n, atoms]` of fractional displacements `[n, atoms, 3]`."""
        index, lattice = fields.context.crystal_index, fields["lattice"]
        cart = to_cartesian(frac.reshape(-1, 3), lattice, index)
        score, log_density = wrapped_normal(cart, lattice, index, sigma)
        return score.reshape(frac.shape), log_density.reshape(frac.shape[:2])


class WrappedGaussianMixture(AnalyticModel):
    """A mixture of wrapped normals over all atoms of a crystal: p(x) = sum_k w_k prod_i WN(x_i - mu_ki; s_ki).

    Args:
        weights: `[n_components]`.
        means: fractional `[n_components, atoms, 3]`.
        spreads: s in Å `[n_components]`, the same for all atoms of a component.
        sigma_min: smallest noise level in Å.
        sigma_max: largest noise level in Å.
    """

    def __init__(
        self, weights: Tensor, means: Tensor, spreads: Tensor, *, sigma_min: float = 0.01, sigma_max: float = 5.0
    ) -> None:
        super().__init__(means.shape[1], sigma_min, sigma_max, translation_invariant=False)
        self.weights = weights.double() / weights.double().sum()
        self.means = means.double()
        self.spreads = spreads.double()

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        x = self._by_species(fields, fields["frac_coords"])
        scores, logs = [], []
        for weight, mean, spread in zip(self.weights, self.means, self.spreads, strict=True):
            score, log_density = self._wrapped_normal(fields, x - mean, torch.sqrt(t.double() ** 2 + spread**2))
            scores.append(score)
            logs.append(torch.log(weight) + log_density.sum(dim=1))
        posterior = torch.softmax(torch.stack(logs), dim=0)
        total = torch.einsum("kn,knai->nai", posterior, torch.stack(scores))
        return Fields({"frac_coords": self._by_index(fields, total * t[:, None, None])}, fields.context)


class RelativePair(AnalyticModel):
    """Two atoms of which only the difference matters: x_2 - x_1 ~ WN(d; s), their common position uniform.

    Translation invariant. Given the first atom, the second is distributed as WN(x_1 + d; s) exactly.

    Args:
        difference: d, fractional `[3]`.
        spread: s in Å.
        sigma_min: smallest noise level in Å.
        sigma_max: largest noise level in Å.
    """

    def __init__(self, difference: Tensor, spread: float, *, sigma_min: float = 0.01, sigma_max: float = 5.0) -> None:
        super().__init__(2, sigma_min, sigma_max, translation_invariant=True)
        self.difference = difference.double()
        self.spread = spread

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        x = self._by_species(fields, fields["frac_coords"])
        width = torch.sqrt(2 * t.double() ** 2 + self.spread**2)
        crystals = torch.arange(x.shape[0])
        cart = to_cartesian(x[:, 1] - x[:, 0] - self.difference, fields["lattice"], crystals)
        score, _ = wrapped_normal(cart, fields["lattice"], crystals, width)
        both = torch.stack([-score, score], dim=1) * t[:, None, None]
        return Fields({"frac_coords": self._by_index(fields, both)}, fields.context)
