"""The laws of `NoiseProcess.project`: what symmetric sampling needs of it; part of `check_score_model`.

With P = `project` in a process's own units, P z must be the noise of the symmetric subspace and P score its score. So P
is idempotent, commutes with the noise law (is orthogonal in the metric in which the noise is isotropic: <u, P v> =
<P u, v>), and noise drawn through it leaves a symmetric crystal symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chggen_kit.draws import Draws
from chggen_kit.errors import InputError
from chggen_kit.interfaces.processes import NoiseProcess, Step
from chggen_kit.interfaces.sampler import CrystalId
from chggen_kit.interfaces.score_model import ScoreModel
from chggen_kit.state import CrystalBatch, Fields, Known
from chggen_kit.symmetry.batch import BatchSymmetry, SymmetricDraws
from chggen_kit.testing.crystals import covered, face_centred, perovskite, wurtzite
from chggen_kit.testing.report import LawResult

PROJECTOR_TOLERANCE = 1e-4
"""Largest deviation of numbers of order one, in float32."""
SYMMETRY_TOLERANCE = 1e-5
"""Largest fractional distance of a noised atom from where the symmetry wants it, in float32."""
_SEED = 7


def check_projectors(model: ScoreModel, symmetric: CrystalBatch | None = None) -> list[LawResult]:
    """Measure the projector of every moving field of `model`.

    Args:
        model: what to check.
        symmetric: crystals with exact symmetry, one of them not cubic; by default those of `symmetric_examples` that
            the model covers and encodes. A field whose process gives no projector is left out.
    """
    batch = _encodable(model) if symmetric is None else symmetric
    if batch is None:
        return []
    probe = _Probe.of(model, batch)
    laws = []
    for name, process in model.processes.items():
        if process.moves and process.project(probe.clean[name], probe.symmetry) is not None:
            laws += _check_projector(name, process, probe)
    return laws


def symmetric_examples() -> CrystalBatch:
    """Crystals at textbook positions: hexagonal wurtzite (ZnO, ZnS, GaN), cubic perovskite, copper and aluminium."""
    return CrystalBatch.concatenate(
        [
            wurtzite(30, 8, 3.25, 5.21),
            wurtzite(30, 16, 3.82, 6.26),
            wurtzite(31, 7, 3.19, 5.19),
            perovskite(38, 22, 8, 3.91),
            face_centred(29, 3.61),
            face_centred(13, 4.05),
        ]
    )


@dataclass(frozen=True)
class _Probe:
    batch: CrystalBatch
    clean: Fields
    symmetry: BatchSymmetry
    times: tuple[float, ...]

    @classmethod
    def of(cls, model: ScoreModel, batch: CrystalBatch) -> _Probe:
        from chggen_kit.io import to_structures
        from chggen_kit.symmetry import find_operations

        operations = [find_operations(structure)[1] for structure in to_structures(batch)]
        clean = model.encode(batch, Known.coordinates_only(batch))
        return cls(batch, clean, BatchSymmetry(operations, clean), tuple(model.times(10)))


def _encodable(model: ScoreModel) -> CrystalBatch | None:
    try:
        batch = covered(symmetric_examples(), model.capabilities.elements)
        model.encode(batch, Known.coordinates_only(batch))
    except InputError:  # a model of other elements, or of a fixed number of atoms, is given crystals by its author
        return None
    return batch


def _check_projector(name: str, process: NoiseProcess, probe: _Probe) -> list[LawResult]:
    x0 = probe.clean[name]
    generator = torch.Generator().manual_seed(_SEED)
    u, v = (torch.randn(x0.shape, generator=generator, dtype=torch.float64).to(x0) for _ in range(2))
    once = _project(process, v, probe)
    twice = _project(process, once, probe)
    size = float(v.double().norm())
    mismatch = float((u.double() * once.double()).sum() - (_project(process, u, probe).double() * v.double()).sum())
    laws = [
        LawResult.at_most(
            f"projector-idempotent-{name}", float((twice - once).abs().max()), PROJECTOR_TOLERANCE, "P P v against P v"
        ),
        LawResult.at_most(
            f"projector-commutes-with-noise-{name}",
            abs(mismatch) / size,
            PROJECTOR_TOLERANCE,
            f"<u, P v> against <P u, v> in {process.metric} units, over the norm of v",
        ),
    ]
    if name != "frac_coords":
        return laws
    ids = [CrystalId("check", crystal) for crystal in range(probe.batch.n_crystals)]
    plain = Draws(_SEED, ids, probe.batch.num_atoms.tolist()).at(0, 0, name, process.scope)
    level = len(probe.times) - 4
    noised = process.forward_marginal(
        x0, Step(probe.times, level, level, probe.clean), SymmetricDraws(plain, process, probe.symmetry)
    )
    off = noised - probe.symmetry.restore(noised)
    laws.append(
        LawResult.at_most(
            f"projector-keeps-subspace-{name}",
            float((off - off.round()).abs().max()),
            SYMMETRY_TOLERANCE,
            "fractional distance of a noised symmetric crystal from its symmetry",
        )
    )
    return laws


def _project(process: NoiseProcess, v: Tensor, probe: _Probe) -> Tensor:
    projected = process.project(v, probe.symmetry)
    if projected is None:
        raise ValueError("`project` gives a tensor for one field of a batch and None for another of the same")
    return projected
