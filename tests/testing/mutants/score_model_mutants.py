"""Score models, a sound one and broken ones, and the crystals that they are checked on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from chggen_kit.interfaces import FieldDraws, KernelOptions, NoiseProcess, Step
from chggen_kit.processes import Fixed, TorusVE
from chggen_kit.state import CrystalBatch, Fields, Known
from chggen_kit.symmetry.batch import BatchSymmetry
from chggen_kit.testing.analytic import RelativePair


class Correct(RelativePair):
    """The sound model that the mutants spoil."""

    def __init__(self) -> None:
        super().__init__(torch.tensor([0.5, 0.45, 0.55]), 0.3)


def _with(fields: Fields, prediction: Tensor) -> Fields:
    return Fields({"frac_coords": prediction}, fields.context)


class ByIndex(Correct):
    """Takes the first atom for the first of the pair, whatever it is."""

    def _by_species(self, fields: Fields, x: Tensor) -> Tensor:
        return x.reshape(-1, self.atoms, 3)

    def _by_index(self, fields: Fields, x: Tensor) -> Tensor:
        return x.reshape(-1, 3)


class Fractional(Correct):
    """Gives Cartesian vectors in a frame that does not rotate."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        return _with(fields, super().predict(fields, t)["frac_coords"] + torch.tensor([0.3, 0.0, 0.0]))


class Chiral(Correct):
    """Adds an axial vector: right under rotations, wrong under inversion."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        v = super().predict(fields, t)["frac_coords"]
        axis = fields["lattice"][fields.context.crystal_index, 0]
        return _with(fields, v + torch.linalg.cross(v, axis))


class Anchored(Correct):
    """Depends on the absolute position."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        v = super().predict(fields, t)["frac_coords"]
        return _with(fields, v * (1 + fields["frac_coords"][:, :1]))


class Coupled(Correct):
    """Normalises over the batch."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        v = super().predict(fields, t)["frac_coords"]
        return _with(fields, v / v.norm())


class Mutating(Correct):
    """Wraps its input in place."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        fields["frac_coords"].add_(0.25).remainder_(1.0)
        return super().predict(fields, t)


class SinglePrecision(Correct):
    """Loses the dtype of its fields."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        return _with(fields, super().predict(fields, t)["frac_coords"].float())


class Noisy(Correct):
    """Uses the global random state."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        v = super().predict(fields, t)["frac_coords"]
        return _with(fields, v + 0.01 * torch.randn_like(v))


class NotANumber(Correct):
    """Divides by zero."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        return _with(fields, super().predict(fields, t)["frac_coords"] / 0.0)


class Mirrored(Correct):
    """Gives back the mirror image of its cell, as a trip through lengths and angles does to left-handed ones."""

    def decode(self, fields: Fields) -> CrystalBatch:
        crystals = super().decode(fields)
        return CrystalBatch(crystals.frac_coords, -crystals.lattice, crystals.species, crystals.num_atoms)


class Ascending(Correct):
    """Orders its grid the wrong way round."""

    def times(self, num_steps: int) -> Sequence[float]:
        return tuple(reversed(super().times(num_steps)))


class _OtherProcess(Correct):
    process: NoiseProcess

    @property
    def processes(self) -> dict[str, NoiseProcess]:  # type: ignore[override]
        return {**super().processes, "frac_coords": self.process}


class _VarianceForDeviation(TorusVE):
    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        variance = step.s**2 - step.t**2
        return self._move(x, variance * draws.normal("renoise", x), step)


class _NeverClean(TorusVE):
    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        return self._move(x0, max(step.s, self.sigma_min) * draws.normal("marginal", x0), step)


class _GlobalNoise(TorusVE):
    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        del draws
        return x0 if step.target_is_clean else self._move(x0, step.s * torch.randn_like(x0), step)


class VarianceForDeviation(_OtherProcess):
    """The original code's jump."""

    process = _VarianceForDeviation(0.01, 5.0)


class NeverClean(_OtherProcess):
    """Keeps the smallest noise at the clean level, as the original's hosts do."""

    process = _NeverClean(0.01, 5.0)


class GlobalNoise(_OtherProcess):
    """Draws from the global generator."""

    process = _GlobalNoise(0.01, 5.0)


class Undeclared(_OtherProcess):
    """Says that it diffuses a field that it keeps fixed."""

    process = Fixed("atom")


class _TooNoisy(TorusVE):
    def _noisy(self, x: Tensor, sigma: float, draws: FieldDraws, purpose: str, step: Step) -> Tensor:
        return self._move(x, 3 * sigma * draws.normal(purpose, x), step)

    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        return x0 if step.target_is_clean else self._noisy(x0, step.s, draws, "marginal", step)

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        return self._noisy(x, (step.s**2 - step.t**2) ** 0.5, draws, "renoise", step)


class _NoReverse(TorusVE):
    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        return x / 0.0


class _Drifting(Fixed):
    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        return x * 1.01


class TooNoisy(_OtherProcess):
    """Takes three sigma for sigma, consistently."""

    process = _TooNoisy(0.01, 5.0)


class NoReverse(_OtherProcess):
    """Its predictor gives no numbers."""

    process = _NoReverse(0.01, 5.0)


class DriftingLattice(Correct):
    """A fixed field that moves in the predictor."""

    @property
    def processes(self) -> dict[str, NoiseProcess]:  # type: ignore[override]
        return {**super().processes, "lattice": _Drifting("crystal")}


class MutatingEncoder(Correct):
    """Folds the user's coordinates in place."""

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        batch.frac_coords.add_(0.25).remainder_(1.0)
        return super().encode(batch, known)


class LonelyNaN(Correct):
    """Normalises by a variance over the batch, which a single crystal does not have."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        v = super().predict(fields, t)["frac_coords"]
        return _with(fields, v * (torch.nan if fields.context.n_crystals == 1 else 1.0))


class OneSigmaForAll(Correct):
    """Takes the first crystal's noise level for the whole batch."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        return super().predict(fields, t[:1].expand_as(t))


class _NotFolded(TorusVE):
    """Forgets to wrap on the way back up."""

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        return super().renoise(x, step, draws, kernel) + 1


class _FoldsToOne(TorusVE):
    """`x % 1` is exactly 1 for tiny negative numbers."""

    def wrap(self, x: Tensor) -> Tensor:
        return x.remainder(1.0)


class _MutatingKernel(TorusVE):
    def correct(self, x: Tensor, *args: Any) -> Tensor | None:
        moved = super().correct(x, *args)
        x.add_(0.1).remainder_(1.0)
        return moved


class _AwayFromTheData(TorusVE):
    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        return super().reverse_step(x, -prediction, step, draws)


class _ScoreForPrediction(TorusVE):
    """Divides by sigma once too often."""

    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        return super().reverse_step(x, prediction / step.t, step, draws)


class _OneLevelLate(TorusVE):
    """Steps as if from the level below."""

    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        late = Step(step.times, min(step.level + 3, step.target - 1), step.target, step.fields)
        return super().reverse_step(x, prediction, late, draws)


class _JumpsOneLevelShort(TorusVE):
    """The paper's listing: levels i-1 and i-2 for the jump to i."""

    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        return super().renoise(x, step, draws, KernelOptions(jump="paper"))


class _TwiceProjected(TorusVE):
    def project(self, v: Tensor, symmetry: BatchSymmetry) -> Tensor:
        return 2 * symmetry.cartesian(v)


class _WrongMetric(TorusVE):
    """Projects vectors in Å as if they were fractional."""

    def project(self, v: Tensor, symmetry: BatchSymmetry) -> Tensor:
        return symmetry.fractional(v)


class _SkewProjector(TorusVE):
    """Idempotent, but not orthogonal: the first component is read off the second."""

    def project(self, v: Tensor, symmetry: BatchSymmetry) -> Tensor:
        return torch.stack([v[:, 1], v[:, 1], v[:, 2]], dim=1)


class _NoProjector(TorusVE):
    def project(self, v: Tensor, symmetry: BatchSymmetry) -> Tensor:
        return v


class MissingWrap(_OtherProcess):
    process = _NotFolded(0.01, 5.0)


class FoldsToOne(_OtherProcess):
    process = _FoldsToOne(0.01, 5.0)


class MutatingKernel(_OtherProcess):
    process = _MutatingKernel(0.01, 5.0)


class AwayFromTheData(_OtherProcess):
    process = _AwayFromTheData(0.01, 5.0)


class ScoreForPrediction(_OtherProcess):
    process = _ScoreForPrediction(0.01, 5.0)


class OneLevelLate(_OtherProcess):
    process = _OneLevelLate(0.01, 5.0)


class JumpsOneLevelShort(_OtherProcess):
    process = _JumpsOneLevelShort(0.01, 5.0)


class TwiceProjected(_OtherProcess):
    process = _TwiceProjected(0.01, 5.0)


class WrongMetric(_OtherProcess):
    process = _WrongMetric(0.01, 5.0)


class SkewProjector(_OtherProcess):
    process = _SkewProjector(0.01, 5.0)


class NoProjector(_OtherProcess):
    process = _NoProjector(0.01, 5.0)


class TurnedFromTheLeft(Correct):
    """Keeps its cells turned to another frame, and turns them back on the wrong side."""

    turn = torch.linalg.matrix_exp(torch.tensor([[0, 0.4, -0.9], [-0.4, 0, 0.3], [0.9, -0.3, 0]]).double())

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        fields = super().encode(batch, known)
        return fields.updated(lattice=fields["lattice"] @ self.turn)

    def decode(self, fields: Fields) -> CrystalBatch:
        return super().decode(fields.updated(lattice=self.turn.T @ fields["lattice"]))


class DrawsAndForgets(Correct):
    """Dropout left on in a layer that is not used."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        torch.rand(1)
        return super().predict(fields, t)


class Uphill(Correct):
    """The score with the wrong sign: every law of symmetry holds."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        return _with(fields, -super().predict(fields, t)["frac_coords"])


class ScoreItself(Correct):
    """The score where its processes expect sigma times the score."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        v = super().predict(fields, t)["frac_coords"]
        return _with(fields, v / t[fields.context.crystal_index][:, None])


class TimesSigmaAgain(Correct):
    def predict(self, fields: Fields, t: Tensor) -> Fields:
        v = super().predict(fields, t)["frac_coords"]
        return _with(fields, v * t[fields.context.crystal_index][:, None])


class Refusing(Correct):
    """Cannot encode what it says that it covers."""

    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        raise ValueError("shape mismatch")
