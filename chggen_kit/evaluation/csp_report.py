"""What the evaluation of structure prediction found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from rich.table import Table

from chggen_kit.evaluation.bootstrap import Estimate
from chggen_kit.evaluation.csp_scores import CspScores, difference, score
from chggen_kit.evaluation.report import Report, table
from chggen_kit.metrics.csp import ReferenceScore

DRAWN, RELAXED = "drawn", "relaxed"
"""States of a prediction."""
HEADINGS = (
    "method",
    "found",
    "RMSE",
    "METRe",
    "cRMSE",
    "found, gated",
    "single samples",
    "calls a sample",
    "s a sample",
)


@dataclass(frozen=True)
class MethodResult:
    """One method's predictions in one state.

    Attributes:
        method: its name.
        state: `drawn` or `relaxed`.
        outcomes: reference by reference.
        network_calls: evaluations of the model for each prediction, by reference.
        seconds: for all predictions of a reference, by reference: of drawing, or of relaxing.
        reasons: `match`, or why not, of each prediction.
    """

    method: str
    state: str
    outcomes: tuple[ReferenceScore, ...]
    network_calls: tuple[int, ...]
    seconds: tuple[float, ...]
    reasons: tuple[str, ...]

    @property
    def label(self) -> str:
        """For a table."""
        cells, _, sampler = self.method.partition("-")
        text = f"cell {cells}" + (f", {sampler}" if sampler else "")
        return text if self.state == DRAWN else f"{text}, relaxed"


@dataclass(frozen=True)
class CspReport(Report):
    """Scores of structure prediction.

    Attributes:
        results: of every method and state, over the same references in the same order.
        groups: of every reference, by id.
        facts: what was measured with what.
        seed: of the bootstrap.
    """

    name: ClassVar[str] = "csp"
    results: tuple[MethodResult, ...]
    groups: Mapping[str, str]
    facts: Mapping[str, Any]
    seed: int = 0

    @cached_property
    def group_names(self) -> list[str]:
        """Groups in order, and `together` where there are several."""
        names = list(dict.fromkeys(self.groups.values()))
        return names if len(names) == 1 else [*names, "together"]

    def _members(self, result: MethodResult, group: str) -> list[int]:
        return [i for i, one in enumerate(result.outcomes) if group in ("together", self.groups[one.id])]

    def outcomes(self, result: MethodResult, group: str) -> list[ReferenceScore]:
        """The outcomes of one group."""
        return [result.outcomes[i] for i in self._members(result, group)]

    def scores(self, result: MethodResult, group: str) -> CspScores:
        """Scores over one group."""
        return self._scores[result.method, result.state, group]

    @cached_property
    def _scores(self) -> dict[tuple[str, str, str], CspScores]:
        return {
            (one.method, one.state, group): score(self.outcomes(one, group), seed=self.seed)
            for one in self.results
            for group in self.group_names
        }

    def comparisons(self, group: str) -> dict[str, CspScores]:
        """Each method minus each baseline with the same cells in the same state (NAME against NAME-BASELINE)."""
        by_name = {(one.method, one.state): one for one in self.results}
        return {
            f"{one.label} minus {other.label}": difference(
                self.outcomes(one, group), self.outcomes(other, group), seed=self.seed
            )
            for (name, state), one in by_name.items()
            for (other_name, other_state), other in by_name.items()
            if state == other_state and other_name.startswith(f"{name}-")
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "evaluation": self.name,
            "facts": dict(self.facts),
            "references": dict(Counter(self.groups.values())),
            "scores": {
                group: {
                    f"{one.method}, {one.state}": {
                        **self.scores(one, group).as_json(),
                        "references": len(self._members(one, group)),
                        **self._costs(one, group),
                    }
                    for one in self.results
                }
                for group in self.group_names
            },
            "differences": {
                group: {name: gap.as_json() for name, gap in self.comparisons(group).items()}
                for group in self.group_names
            },
            "reasons": {f"{one.method}, {one.state}": dict(Counter(one.reasons)) for one in self.results},
            "by_reference": [
                {
                    "id": reference,
                    "group": group,
                    "formula": self.results[0].outcomes[i].formula,
                    "rmsds": {f"{one.method}, {one.state}": list(one.outcomes[i].rmsds) for one in self.results},
                    "everyone": {f"{one.method}, {one.state}": one.outcomes[i].everyone for one in self.results},
                }
                for i, (reference, group) in enumerate(self.groups.items())
            ],
        }

    def _costs(self, result: MethodResult, group: str) -> dict[str, float]:
        members = self._members(result, group)
        samples = sum(len(result.outcomes[i].rmsds) for i in members)
        return {
            "network_calls_per_sample": round(sum(result.network_calls[i] for i in members) / len(members), 1),
            "seconds_per_sample": round(sum(result.seconds[i] for i in members) / samples, 3),
        }

    def tables(self) -> list[Table]:
        made = []
        for group in self.group_names:
            rows = [self._row(one, group) for one in self.results]
            count = len(self._members(self.results[0], group))
            samples = len(self.results[0].outcomes[0].rmsds)
            title = f"Structure prediction, {group}: {count} references, {samples} samples each"
            made.append(table(title, HEADINGS, rows))
        gaps = self.comparisons(self.group_names[-1])
        if gaps:
            rows = [[name, *(one.text(3) for one in _shown(gap))] for name, gap in gaps.items()]
            title = f"Differences on the same references, {self.group_names[-1]}"
            made.append(table(title, HEADINGS[:7], rows))
        return made

    def _row(self, result: MethodResult, group: str) -> list[str]:
        scores, costs = self.scores(result, group), self._costs(result, group)
        return [
            result.label,
            scores.match_rate.percent(),
            scores.rmse.text(3),
            scores.metre.percent(),
            scores.crmse.text(3),
            scores.gated_match_rate.percent(),
            scores.sample_match_rate.percent(),
            f"{costs['network_calls_per_sample']:g}",
            f"{costs['seconds_per_sample']:.2f}",
        ]


def _shown(gap: CspScores) -> list[Estimate]:
    return [gap.match_rate, gap.rmse, gap.metre, gap.crmse, gap.gated_match_rate, gap.sample_match_rate]
