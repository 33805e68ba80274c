"""Scores of crystal structure prediction: match rate, RMSE, METRe and cRMSE.

Match rate and RMSE are DiffCSP's (arXiv:2309.04475): a reference counts as found when one of its k
predictions matches it, and RMSE is the mean of the lowest displacement over the references found.

METRe and cRMSE are those of Martirossyan et al., "All that structure matches does not glitter" (arXiv:2509.12178):
METRe, "match everyone to reference", is the share of references that any of all predictions of their composition
matches, whichever reference it was made for; cRMSE is the mean over all references of that lowest displacement, with
stol for a reference that nothing matches. They differ from the former where a composition has several references, and
cRMSE cannot be lowered by missing the difficult ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress
from chggen_kit.io.readers import canonical_formula
from chggen_kit.metrics.matching import STOL, CspMatcher

Terms = tuple[list[float], list[float]]
"""Numerators and denominators of a score, one of each for every reference: what a bootstrap resamples."""


@dataclass(frozen=True)
class ReferenceScore:
    """What came of the predictions for one reference.

    Attributes:
        id: of the reference.
        formula: its composition, in the form of `composition_of`.
        rmsds: displacement of each of its own predictions, None for one that does not match.
        allowed: which of these predictions pass the validity gate; all False when the reference itself fails it.
        everyone: lowest displacement among all predictions of the composition, None when nothing matches.
    """

    id: str
    formula: str
    rmsds: tuple[float | None, ...]
    allowed: tuple[bool, ...]
    everyone: float | None

    @property
    def best(self) -> float | None:
        """Lowest displacement among its own predictions, None when none matches."""
        return lowest(self.rmsds)

    @property
    def gated_best(self) -> float | None:
        """The same among those that pass the gate."""
        return lowest(rmsd for rmsd, allowed in zip(self.rmsds, self.allowed, strict=True) if allowed)


def lowest(rmsds: Iterable[float | None]) -> float | None:
    """The lowest displacement of those that match, None when none does."""
    return min((rmsd for rmsd in rmsds if rmsd is not None), default=None)


def composition_of(structure: Structure) -> str:
    """Reduced composition in canonical form: equal for equal compositions, whatever the cell."""
    return canonical_formula(Counter(site.specie.Z for site in structure))


def match_everyone(
    references: Mapping[str, Structure],
    predictions: Mapping[str, Sequence[Structure]],
    own: Mapping[str, float | None],
    matcher: CspMatcher,
    progress: Progress | None = None,
) -> dict[str, float | None]:
    """Lowest displacement of each reference among all predictions of its composition.

    Args:
        references: by id.
        predictions: structures made for each reference, by its id.
        own: lowest displacement among a reference's own predictions, which are not compared again.
        matcher: the rules.
        progress: told how many references are done.
    """
    members: dict[str, list[str]] = {}
    for name, structure in references.items():
        members.setdefault(composition_of(structure), []).append(name)
    best: dict[str, float | None] = dict(own)
    for done, (name, structure) in enumerate(references.items()):
        for other in members[composition_of(structure)]:
            if other != name:
                found = (matcher.compare(one, structure).rmsd for one in predictions.get(other, ()))
                best[name] = lowest((best.get(name), *found))
        if progress is not None:
            progress.update(done + 1, len(references))
    return best


def terms(outcomes: Sequence[ReferenceScore], stol: float = STOL) -> dict[str, Terms]:
    """Every score as a sum of numerators over a sum of denominators, by name.

    - `match_rate`: share of references that one of their own predictions matches;
    - `rmse`: mean of their lowest displacement, over the references found;
    - `gated_match_rate`, `gated_rmse`: the same when a pair counts only if both structures pass the validity gate;
    - `metre`: share of references that any prediction of their composition matches;
    - `crmse`: mean of that lowest displacement over all references, `stol` where nothing matches;
    - `sample_match_rate`: share of single predictions that match, the mean over references of their shares.

    Raises:
        InputError: when there is no reference, or one without predictions.
    """
    if not outcomes:
        raise InputError("There is no reference to score.")
    empty = [one.id for one in outcomes if not one.rmsds]
    if empty:
        raise InputError(f"There are no predictions for {', '.join(empty[:5])}; a sample that failed counts as None.")
    best = [one.best for one in outcomes]
    gated = [one.gated_best for one in outcomes]
    everyone = [one.everyone for one in outcomes]
    all_of_them = [1.0] * len(outcomes)
    return {
        "match_rate": (_found(best), all_of_them),
        "rmse": (_or(best, 0.0), _found(best)),
        "gated_match_rate": (_found(gated), all_of_them),
        "gated_rmse": (_or(gated, 0.0), _found(gated)),
        "metre": (_found(everyone), all_of_them),
        "crmse": (_or(everyone, stol), all_of_them),
        "sample_match_rate": ([sum(_found(one.rmsds)) / len(one.rmsds) for one in outcomes], all_of_them),
    }


def values(outcomes: Sequence[ReferenceScore], stol: float = STOL) -> dict[str, float]:
    """The scores of `terms`; NaN for an RMSE without a match.

    Raises:
        InputError: as `terms`.
    """
    return {
        name: sum(top) / sum(bottom) if sum(bottom) > 0 else math.nan
        for name, (top, bottom) in terms(outcomes, stol).items()
    }


def _found(rmsds: Iterable[float | None]) -> list[float]:
    return [float(rmsd is not None) for rmsd in rmsds]


def _or(rmsds: Iterable[float | None], otherwise: float) -> list[float]:
    return [otherwise if rmsd is None else rmsd for rmsd in rmsds]
