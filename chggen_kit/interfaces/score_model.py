"""`ScoreModel`: what every generative backend provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from chggen_kit.interfaces.processes import NoiseProcess
from chggen_kit.state import CrystalBatch, Fields, Known


@dataclass(frozen=True)
class Capabilities:
    """What a score model can do, and where it comes from.

    Attributes:
        diffused: names of the fields that it diffuses.
        elements: atomic numbers that it was trained on.
        max_atoms: atoms of the largest crystal in its training set, or None.
        time_unit: what `times` mean (`sigma in Å`, `discrete step`, ...).
        lattice_gauge: `any` (equivariant under rotation), `niggli`, `polar`, ...
        rotation_equivariant: predictions for Cartesian vectors and for lattices rotate with the lattice (proper
            rotations), others stay: those for fractional coordinates, and for a lattice whose gauge has no orientation.
        inversion_equivariant: the same for improper rotations (O(3)).
        translation_invariant: a common shift of the fractional coordinates leaves the prediction unchanged.
        masks: names of the fields that may be partly known.
        devices: device types that it runs on.
        licence: licence of the weights.
        checkpoint: id of the checkpoint, e.g. its file name.
        checkpoint_sha256: SHA-256 of the checkpoint file, hexadecimal.
        sampling_defaults: sampler options that measurement found best for this model, by option name.
        atom_counts: share of each number of atoms in its training set, where it generates whole compositions.
    """

    diffused: tuple[str, ...]
    elements: frozenset[int]
    max_atoms: int | None
    time_unit: str
    lattice_gauge: str
    rotation_equivariant: bool
    inversion_equivariant: bool
    translation_invariant: bool
    masks: tuple[str, ...]
    devices: tuple[str, ...]
    licence: str
    checkpoint: str
    checkpoint_sha256: str
    sampling_defaults: Mapping[str, Any] = field(default_factory=dict)
    atom_counts: Mapping[int, float] = field(default_factory=dict)


class ScoreModel(ABC):
    """A diffusion model of crystals.

    Laws (checked by `chggen_kit.testing.check_score_model`): permuting the atoms of a crystal permutes the prediction;
    a common shift of fractional coordinates and a rotation of the lattice act as `capabilities` declares; one crystal
    alone has the prediction that it has in a batch, to float32 accuracy; inputs are not mutated; outputs are finite,
    detached, of the fields' dtype and device; `decode(encode(x))` is `x` to 1e-6 Å in the user's own cell, axes and
    atom order.
    """

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the model can do."""

    @property
    @abstractmethod
    def processes(self) -> Mapping[str, NoiseProcess]:
        """The noise process of every field, the fixed ones included."""

    @abstractmethod
    def times(self, num_steps: int) -> Sequence[float]:
        """Descending grid of `num_steps` + 1 times; the last is the clean level, the one before it the least noisy."""

    @abstractmethod
    def encode(self, batch: CrystalBatch, known: Known) -> Fields:
        """Fields of `batch` in the model's representation, dtype, device and gauge.

        Raises:
            InputError: when an element or a mask is not supported.
        """

    @abstractmethod
    def decode(self, fields: Fields) -> CrystalBatch:
        """Crystals of `fields` in the user's own cell, axes and atom order (float64, on the CPU)."""

    @abstractmethod
    def predict(self, fields: Fields, t: Tensor) -> Fields:
        """The network's output for the diffused fields, in the parametrisation that their processes understand.

        `t` `[n_crystals]` holds the time of each crystal. The result holds the diffused fields only.
        """

    def never_trained_on(self, formulas: Collection[str]) -> frozenset[str] | None:
        """Those of `formulas` that training certainly left out; None (the default) where the checkpoint cannot say.

        Formulas are reduced, in the form of `chggen_kit.io.readers.canonical_formula`. Benchmarks on known compounds
        use it to keep clear of the training set.
        """
        del formulas
        return None
