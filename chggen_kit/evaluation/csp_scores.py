"""Scores of structure prediction with intervals, and two methods compared on the same references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chggen_kit.errors import InputError
from chggen_kit.evaluation import bootstrap
from chggen_kit.evaluation.bootstrap import Estimate
from chggen_kit.metrics.csp import ReferenceScore, terms
from chggen_kit.metrics.matching import STOL


@dataclass(frozen=True)
class CspScores:
    """The scores of `chggen_kit.metrics.csp.terms`, or differences of them, with 95 % intervals.

    The bootstrap resamples compositions, because references of one composition are not independent.
    """

    match_rate: Estimate
    rmse: Estimate
    gated_match_rate: Estimate
    gated_rmse: Estimate
    metre: Estimate
    crmse: Estimate
    sample_match_rate: Estimate

    def as_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {field.name: getattr(self, field.name).as_json() for field in fields(self)}


def score(outcomes: Sequence[ReferenceScore], *, stol: float = STOL, seed: int = 0) -> CspScores:
    """Scores of one method.

    Args:
        outcomes: one for each reference.
        stol: cost in cRMSE of a reference that nothing matches.
        seed: of the bootstrap.

    Raises:
        InputError: when there is no reference, or one without predictions.
    """
    groups = [one.formula for one in outcomes]
    made = {}
    for name, one in terms(outcomes, stol).items():
        estimate = bootstrap.share if name.endswith("match_rate") or name == "metre" else bootstrap.ratio
        made[name] = estimate(*_by_group(one, groups), seed=seed)
    return CspScores(**made)


def difference(
    first: Sequence[ReferenceScore], second: Sequence[ReferenceScore], *, stol: float = STOL, seed: int = 0
) -> CspScores:
    """Scores of `first` minus those of `second`, for two methods on the same references, by paired bootstrap.

    RMSE is compared over the references that both methods find: each alone is a mean over other references.

    Raises:
        InputError: when the references are not the same in the same order, and as `score`.
    """
    if [one.id for one in first] != [one.id for one in second]:
        raise InputError("A paired comparison needs the same references in the same order for both methods.")
    ours, theirs = terms(first, stol), terms(second, stol)
    groups = [one.formula for one in first]
    made = {}
    for name in ours:
        one, other = np.array(ours[name]), np.array(theirs[name])
        if name in {"rmse", "gated_rmse"}:
            both = np.minimum(one[1], other[1])
            one, other = (np.stack([part[0] * both, both]) for part in (one, other))
        made[name] = bootstrap.difference(_by_group(one, groups), _by_group(other, groups), seed=seed)
    return CspScores(**made)


def _by_group(one: ArrayLike, groups: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The terms `[2, n_references]` added up by group."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    index = np.array([numbers[name] for name in groups])
    top, bottom = np.zeros(len(numbers)), np.zeros(len(numbers))
    for sums, values in zip((top, bottom), np.asarray(one, dtype=np.float64), strict=True):
        np.add.at(sums, index, values)
    return top, bottom
