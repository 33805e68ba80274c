"""What judges said of the candidates of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chggen_kit.judging.comparison import Agreement, Compared, agreement, difference, spread, swapped_pairs
from chggen_kit.judging.work import JudgedRecord

OWN = "own"
"""Key of the run's own potential; no judge has it."""


@dataclass(frozen=True)
class Voice:
    """A potential with a say: the run's own, or a judge.

    Attributes:
        key: `own`, or the judge's key.
        name: name and version of its weights.
        energy_frame: of its energies.
        origin: distribution of its plug-in and where it runs; empty for the run's own, which the run itself tells.
        references: label of the references that its E_d is measured from; None where it has no E_d.
        n_references: how many phases they are.
        reason: why it has no E_d, as a phrase; empty otherwise.
        exclude_composition: whether references of a structure's own formula were left out.
    """

    key: str
    name: str
    energy_frame: str
    origin: str = ""
    references: str | None = None
    n_references: int | None = None
    reason: str = ""
    exclude_composition: bool = False


@dataclass(frozen=True)
class JudgedCandidate:
    """A candidate with all opinions on it.

    Attributes:
        rank: in the run, from 1.
        compared: what every potential says of it.
        spacegroup: symbol in the run.
        opinions: by key of the judge.
        spread: largest minus smallest E_d in eV/atom; None where fewer than two potentials have one.
        swapped_with: candidates whose order with this one depends on the potential.
    """

    rank: int
    compared: Compared
    spacegroup: str
    opinions: Mapping[str, JudgedRecord]
    spread: float | None
    swapped_with: tuple[str, ...]

    @property
    def id(self) -> str:
        """Identity in the run."""
        return self.compared.id

    @property
    def rank_depends(self) -> bool:
        """Whether its rank depends on the potential."""
        return bool(self.swapped_with)


@dataclass(frozen=True)
class Judgement:
    """Second opinions on a run.

    Attributes:
        path: the run directory.
        voices: the run's own potential, then the judges.
        candidates: those that were judged, in the order of the run.
        margin: energy differences in eV/atom up to this size are no order.
        agreements: of each judge with the run's own potential, by the judge's key.
    """

    path: Path
    voices: Sequence[Voice]
    candidates: Sequence[JudgedCandidate]
    margin: float
    agreements: Mapping[str, Agreement] = field(default_factory=dict)

    @property
    def swapped(self) -> list[tuple[str, str]]:
        """Pairs of candidates whose order depends on the potential, the better ranked first."""
        order = {one.id: one.rank for one in self.candidates}
        return [(one.id, other) for one in self.candidates for other in one.swapped_with if order[other] > one.rank]

    def above_best(self, candidate: JudgedCandidate, key: str) -> float | None:
        """Energy in eV/atom above the lowest judged candidate of the same composition, by one potential."""
        peers = [one.compared for one in self.candidates if one.compared.formula == candidate.compared.formula]
        gaps = [difference(candidate.compared, peer, key) for peer in peers]
        known = [gap for gap in gaps if gap is not None]
        return max(known) if known else None


def make_judgement(
    path: Path,
    voices: Sequence[Voice],
    candidates: Sequence[tuple[int, Compared, str]],
    opinions: Mapping[str, Mapping[str, JudgedRecord]],
    margin: float,
) -> Judgement:
    """Compare what all said.

    Args:
        path: the run directory.
        voices: the run's own potential first.
        candidates: rank, levels and space group of each.
        opinions: by judge, then by candidate.
        margin: in eV/atom.
    """
    compared = [one for _, one, _ in candidates]
    partners: dict[str, list[str]] = {one.id: [] for one in compared}
    for one, other in swapped_pairs(compared, [voice.key for voice in voices], margin):
        partners[one.id].append(other.id)
        partners[other.id].append(one.id)
    judged = [
        JudgedCandidate(
            rank=rank,
            compared=one,
            spacegroup=group,
            opinions={key: by_id[one.id] for key, by_id in opinions.items()},
            spread=spread(one),
            swapped_with=tuple(partners[one.id]),
        )
        for rank, one, group in candidates
    ]
    agreements = {voice.key: agreement(compared, OWN, voice.key) for voice in voices if voice.key != OWN}
    return Judgement(path, voices, judged, margin, agreements)
