"""`NoiseProcess`: everything about one field that depends on its noise level. Samplers never see a sigma."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from chggen_kit.state import BatchContext, Fields

if TYPE_CHECKING:
    from chggen_kit.symmetry.batch import BatchSymmetry

Scope = Literal["atom", "crystal"]
NoiseMetric = Literal["cartesian", "fractional", "plain"]
"""Where a process's noise is isotropic: Å on the torus, fractional coordinates on the torus, or plain numbers."""


class FieldDraws(Protocol):
    """Random numbers for one field at one moment of a run, per crystal, independent of batching.

    All shapes are `[n_atoms or n_crystals, *trailing]`; numbers are drawn in float64 and returned in the dtype and
    on the device of `like`. Two calls with one purpose return the same numbers.
    """

    def normal(self, purpose: str, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of `like`."""
        ...

    def uniform(self, purpose: str, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of the shape of `like`."""
        ...

    def categorical(self, purpose: str, probabilities: Tensor) -> Tensor:
        """One class index a row of `probabilities` `[n, n_classes]`; int64 `[n]`."""
        ...


@dataclass(frozen=True)
class Step:
    """A move on a grid of times, for one batch.

    Attributes:
        times: the grid, descending; the last entry is the clean level.
        level: index into `times` of the level t where the move starts.
        target: index of the level s where it ends (larger index = less noise).
        fields: the batch's current fields (a process may need another field: the Å torus needs the lattice).
    """

    times: Sequence[float]
    level: int
    target: int
    fields: Fields

    @property
    def context(self) -> BatchContext:
        """Atom counts and crystal index of the batch."""
        return self.fields.context

    @property
    def t(self) -> float:
        """Time of the level where the move starts."""
        return self.times[self.level]

    @property
    def s(self) -> float:
        """Time of the level where the move ends."""
        return self.times[self.target]

    @property
    def target_is_clean(self) -> bool:
        """Whether the move ends at the clean level."""
        return self.target == len(self.times) - 1

    @property
    def level_is_clean(self) -> bool:
        """Whether the move starts at the clean level."""
        return self.level == len(self.times) - 1


@dataclass(frozen=True)
class KernelOptions:
    """Choices among published kernels; the defaults are the exact ones (see docs/design.md).

    Attributes:
        jump: `exact` adds sqrt(sigma_t^2 - sigma_s^2) z on the way from s up to t; `paper` shifts the index by one as
            the paper's listing does: for the jump from level i-1 to i it uses the levels i-1 and i-2.
        corrector: `fixed` is eps = 2 (delta sigma)^2; `langevin-norm` is eps = 2 (delta sqrt(3n) / |g|)^2 with the
            norm of the score over the n generated atoms of one crystal, capped at sigma^2.
        snr: delta, the corrector's signal-to-noise ratio.
    """

    jump: Literal["exact", "paper"] = "exact"
    corrector: Literal["fixed", "langevin-norm"] = "fixed"
    snr: float = 0.4


class NoiseProcess(ABC):
    """A noise process on one field.

    Law: with `forward_marginal(x0, s)` drawn first, `renoise(., s -> t)` has exactly the law of
    `forward_marginal(x0, t)`; at the clean level `forward_marginal` is the identity; `wrap` is idempotent; nothing is
    changed in place. A process is built from plain, serialisable parameters (`parameters`).
    """

    kind: ClassVar[str]
    """Name under which `chggen_kit.processes.from_spec` rebuilds the process."""
    scope: Scope
    """Whether the field has one row an atom or one a crystal."""
    metric: NoiseMetric = "cartesian"
    """The unit of `marginal_std`."""
    moves: bool = True
    """False for a field that is never diffused."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Plain parameters that rebuild this process."""

    @abstractmethod
    def prior(self, step: Step, x: Tensor, draws: FieldDraws) -> Tensor:
        """Draw x at the noisiest level; `x` gives shape, dtype and device."""

    @abstractmethod
    def forward_marginal(self, x0: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """Draw x at `step.target` given the clean `x0`; `x0` itself at the clean level."""

    @abstractmethod
    def renoise(self, x: Tensor, step: Step, draws: FieldDraws, kernel: KernelOptions) -> Tensor:
        """Draw x at the noisier `step.target` given x at `step.level`."""

    @abstractmethod
    def reverse_step(self, x: Tensor, prediction: Tensor, step: Step, draws: FieldDraws) -> Tensor:
        """Predictor: from `step.level` down to `step.target`, with the model's output at `step.level`."""

    @abstractmethod
    def correct(
        self, x: Tensor, prediction: Tensor, step: Step, moving: Tensor, draws: FieldDraws, kernel: KernelOptions
    ) -> Tensor | None:
        """Corrector at `step.level` on the rows where `moving`; `None` where the field has no corrector."""

    @abstractmethod
    def wrap(self, x: Tensor) -> Tensor:
        """Fold x back onto the space."""

    def is_sane(self, x: Tensor) -> Tensor:
        """Rows of finite numbers that are still within the range of a working model, bool `[rows]`.

        Samplers give up the crystal of a row that is not, with the reason `exploded`. The default sets no limit.
        """
        return x.new_ones(x.shape[0], dtype=torch.bool)

    def marginal_std(self, step: Step) -> float | None:
        """Standard deviation of `forward_marginal` at `step.target` for each component, in the unit of `metric`.

        `chggen_kit.testing` measures it. The default, None, declares nothing.
        """
        del step
        return None

    def project(self, v: Tensor, symmetry: BatchSymmetry) -> Tensor | None:
        """Noise or predictions `v` projected orthogonally, in this process's own metric, on a symmetric subspace.

        None where states of the field that keep a symmetry are no linear space, so that it must be given. The default
        goes by `metric`: vectors in Å or in fractional units, species by their means over orbits, cells within the
        linear space of the template's rotations.
        """
        if self.scope == "crystal":
            return symmetry.cells(v)
        if self.metric == "plain":
            return symmetry.orbit_means(v)
        return symmetry.cartesian(v) if self.metric == "cartesian" else symmetry.fractional(v)

    def denoising_target(self, x0: Tensor, x: Tensor, step: Step) -> Tensor | None:
        """What a perfect network predicts for `x` at `step.level` when it is told the clean `x0` that `x` came from.

        In the parametrisation of the model's output. The default, None, cannot say; evaluations leave such fields out.
        """
        del x0, x, step
        return None

    def align(self, x: Tensor, reference: Tensor, known: Tensor, step: Step) -> Tensor:
        """Slide `x` `[rows, ...]` along the field's translations towards `reference` on the `known` rows.

        The default has no translations and returns `x`.
        """
        del reference, known, step
        return x
