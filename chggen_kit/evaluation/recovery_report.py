"""Outcomes of guest recovery, and the rates that follow from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict
from rich.table import Table

from chggen_kit.evaluation.bootstrap import Estimate, difference, ratio, share
from chggen_kit.evaluation.report import Report, table
from chggen_kit.workflow.records import OK, Measured, StructureData

Pair = tuple[list[float], list[float]]
"""Numerators and denominators, one each for every compound."""


class SampleOutcome(BaseModel):
    """One sample.

    Attributes:
        outcome: `ok`, or why it failed (`no-room`, `non-finite`, `overlap`, `exploded`, ...): a failure is no hit.
        generated: as drawn.
        relaxed: as relaxed, with `energy_per_atom` in eV, after `steps` steps that ended with `relax_reason`.
        matches_generated: whether it matches the known structure as given, before relaxation.
        matches: whether it matches the relaxed known structure after relaxation.
        lower: whether its energy is lower than that of the relaxed known structure by more than the tolerance.
        guest_rmsd_A: distance of the guests of a match from the known ones in Å.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str
    generated: StructureData
    relaxed: StructureData | None = None
    relax_reason: str | None = None
    steps: int | None = None
    energy_per_atom: Measured = None
    matches_generated: bool = False
    matches: bool = False
    lower: bool = False
    guest_rmsd_A: Measured = None

    @property
    def hit(self) -> bool:
        """Whether the sample is as good as the known structure: it matches, or lies lower."""
        return self.matches or self.lower

    def updated(self, **values: object) -> SampleOutcome:
        """Copy with some values replaced, checked again."""
        return SampleOutcome.model_validate({**dict(self), **values})


class MethodOutcome(BaseModel):
    """All samples of one method for one compound; `network_calls` is what each of them took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network_calls: int
    samples: tuple[SampleOutcome, ...]

    @property
    def best(self) -> SampleOutcome | None:
        """The relaxed sample of lowest energy."""
        relaxed = [one for one in self.samples if one.outcome == OK and one.energy_per_atom is not None]
        return min(relaxed, key=lambda one: one.energy_per_atom or 0.0, default=None)


class CompoundOutcome(BaseModel):
    """One compound.

    Attributes:
        id, formula, family, guest, guest_count, n_atoms: what it is.
        known_reason: how the relaxation of the known structure ended, after `known_steps` steps; None without one.
        known_energy_per_atom: in eV.
        known_relaxed: None where that failed: nothing can be compared then, and the compound counts in no rate.
        known_keeps: whether the relaxed known structure still matches the one that was given.
        methods: by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    formula: str
    family: str
    guest: str
    guest_count: int
    n_atoms: int
    known_reason: str | None = None
    known_steps: int | None = None
    known_energy_per_atom: Measured = None
    known_relaxed: StructureData | None = None
    known_keeps: bool = False
    methods: Mapping[str, MethodOutcome]


def _shares(outcomes: Sequence[MethodOutcome], flag: Callable[[SampleOutcome], bool]) -> Pair:
    return [float(sum(map(flag, one.samples))) for one in outcomes], [float(len(one.samples)) for one in outcomes]


def _of_best(outcomes: Sequence[MethodOutcome], flag: Callable[[SampleOutcome], bool]) -> Pair:
    best = [one.best for one in outcomes]
    return [float(one is not None and flag(one)) for one in best], [1.0] * len(best)


def _means(outcomes: Sequence[MethodOutcome], value: Callable[[SampleOutcome], float | None]) -> Pair:
    found = [[v for v in map(value, one.samples) if v is not None] for one in outcomes]
    return [float(sum(one)) for one in found], [float(len(one)) for one in found]


SHARES: Mapping[str, Callable[[Sequence[MethodOutcome]], Pair]] = {
    "as_generated": lambda outcomes: _shares(outcomes, lambda one: one.matches_generated),
    "single": lambda outcomes: _shares(outcomes, lambda one: one.hit),
    "single_matches": lambda outcomes: _shares(outcomes, lambda one: one.matches),
    "single_lower_only": lambda outcomes: _shares(outcomes, lambda one: one.lower and not one.matches),
    "best": lambda outcomes: _of_best(outcomes, lambda one: one.hit),
    "best_matches": lambda outcomes: _of_best(outcomes, lambda one: one.matches),
    "any_matches": lambda outcomes: (
        [float(any(one.matches for one in outcome.samples)) for outcome in outcomes],
        [1.0] * len(outcomes),
    ),
}
"""Shares: of all samples (`as_generated`, `single*`), or of all compounds (`best*`, `any_matches`)."""
MEANS: Mapping[str, Callable[[Sequence[MethodOutcome]], Pair]] = {
    "guest_rmsd_A": lambda outcomes: _means(outcomes, lambda one: one.guest_rmsd_A),
    "steps": lambda outcomes: _means(outcomes, lambda one: one.steps if one.outcome == OK else None),
}
"""Means: guest RMSD over samples that match, relaxation steps over samples that were relaxed."""
_HEADINGS = {"as_generated": "as generated", "single": "single sample", "best": "best of {n}"}
"""The shares of the tables."""
COMPARED = ("as_generated", "single", "best", "steps")
"""What the first method is compared with the others by."""


@dataclass(frozen=True)
class RecoveryReport(Report):
    """Guest recovery.

    Attributes:
        compounds: everything that happened.
        methods: their names, the one that is compared with the others first.
        samples: of each method for every compound.
        relaxes: whether anything was relaxed; if not, `as_generated` is all there is.
        facts: settings, and what they resolved to.
        seconds: time by kind of work.
    """

    name: ClassVar[str] = "recovery"
    compounds: tuple[CompoundOutcome, ...]
    methods: tuple[str, ...]
    samples: int
    relaxes: bool
    facts: Mapping[str, Any]
    seconds: Mapping[str, float]

    @property
    def judged(self) -> list[CompoundOutcome]:
        """Compounds whose known structure could be relaxed: what all rates are over."""
        return [one for one in self.compounds if one.known_relaxed is not None or not self.relaxes]

    def _some(self, quantities: Iterable[str]) -> list[str]:
        """Those of `quantities` that were measured."""
        return [quantity for quantity in quantities if self.relaxes or quantity == "as_generated"]

    def _pair(self, quantity: str, method: str, compounds: Sequence[CompoundOutcome] | None = None) -> Pair:
        outcomes = [one.methods[method] for one in (self.judged if compounds is None else compounds)]
        return {**SHARES, **MEANS}[quantity](outcomes)

    def estimate(self, quantity: str, method: str, compounds: Sequence[CompoundOutcome] | None = None) -> Estimate:
        """One of `SHARES` or `MEANS` for a method, over all judged compounds or some of them."""
        estimator = share if quantity in SHARES else ratio
        return estimator(*self._pair(quantity, method, compounds))

    def advantage(self, quantity: str, baseline: str) -> Estimate:
        """The first method's value minus that of `baseline`, compounds resampled together."""
        return difference(self._pair(quantity, self.methods[0]), self._pair(quantity, baseline))

    def _median_rmsd(self, method: str) -> float | None:
        found = [
            s.guest_rmsd_A for one in self.judged for s in one.methods[method].samples if s.guest_rmsd_A is not None
        ]
        return float(np.median(found)) if found else None

    def _calls(self, method: str) -> int:
        return max((one.methods[method].network_calls for one in self.compounds), default=0)

    def _groups(self, key: Callable[[CompoundOutcome], str]) -> dict[str, list[CompoundOutcome]]:
        groups: dict[str, list[CompoundOutcome]] = {}
        for one in self.judged:
            groups.setdefault(key(one), []).append(one)
        return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))

    def as_json(self) -> dict[str, Any]:
        judged = self.judged
        return {
            "evaluation": self.name,
            "facts": dict(self.facts),
            "compounds": len(self.compounds),
            "compounds_judged": len(judged),
            **(self._known_json() if self.relaxes else {}),
            "samples_per_compound": self.samples,
            "methods": {method: self._method_json(method) for method in self.methods},
            "differences": {
                f"{self.methods[0]} - {baseline}": {
                    q: self.advantage(q, baseline).as_json() for q in self._some(COMPARED)
                }
                for baseline in self.methods[1:]
            },
            "by_guest": self._by(lambda one: one.guest),
            "by_family": self._by(lambda one: one.family),
            "seconds": dict(self.seconds),
            "by_compound": [self._compound_json(one) for one in self.compounds],
        }

    def _known_json(self) -> dict[str, Any]:
        judged = self.judged
        return {
            "known_not_relaxed": dict(Counter(c.known_reason for c in self.compounds if c.known_relaxed is None)),
            "known_changed_by_relaxation": sum(not one.known_keeps for one in judged),
            "known_not_converged": sum(one.known_reason != "converged" for one in judged),
        }

    @property
    def _main(self) -> str:
        """The share that groups of compounds are listed by."""
        return "single" if self.relaxes else "as_generated"

    def _method_json(self, method: str) -> dict[str, Any]:
        ends = Counter(s.outcome for one in self.compounds for s in one.methods[method].samples)
        ran_out = sum(s.relax_reason == "max-steps" for one in self.compounds for s in one.methods[method].samples)
        rmsd = self._median_rmsd(method)
        return {
            **{quantity: self.estimate(quantity, method).as_json() for quantity in self._some((*SHARES, *MEANS))},
            "guest_rmsd_A_median": None if rmsd is None else round(rmsd, 6),
            "network_calls_per_sample": self._calls(method),
            "outcomes": dict(sorted(ends.items())),
            "not_converged": ran_out,
        }

    def _by(self, key: Callable[[CompoundOutcome], str]) -> dict[str, Any]:
        return {
            name: {
                "compounds": len(members),
                **{method: self.estimate(self._main, method, members).as_json() for method in self.methods},
            }
            for name, members in self._groups(key).items()
        }

    def _compound_json(self, one: CompoundOutcome) -> dict[str, Any]:
        energy = one.known_energy_per_atom
        return {
            "id": one.id,
            "formula": one.formula,
            "guest": one.guest,
            "guests": one.guest_count,
            "atoms": one.n_atoms,
            "known": one.known_reason,
            "known_energy_per_atom": None if energy is None else round(energy, 6),
            **{
                method: {
                    "as_generated": sum(s.matches_generated for s in outcome.samples),
                    "matches": sum(s.matches for s in outcome.samples),
                    "lower": sum(s.lower for s in outcome.samples),
                    "hits": sum(s.hit for s in outcome.samples),
                    "best_hits": outcome.best is not None and outcome.best.hit,
                }
                for method, outcome in one.methods.items()
            },
        }

    def tables(self) -> list[Table]:
        return [self._rates(), *([self._differences()] if len(self.methods) > 1 else []), self._by_guest()]

    def _rates(self) -> Table:
        shares = self._some(_HEADINGS)
        headings = ["", *(_HEADINGS[name].format(n=self.samples) for name in shares)]
        headings += ["guest RMSD (Å)", "steps"] if self.relaxes else []
        rows = []
        for method in self.methods:
            line = [method, *(self.estimate(name, method).percent() for name in shares)]
            if self.relaxes:
                rmsd = self._median_rmsd(method)
                line += ["–" if rmsd is None else f"{rmsd:.3f}", self.estimate("steps", method).text(0)]
            failed = sum(s.outcome != OK for one in self.compounds for s in one.methods[method].samples)
            rows.append([*line, str(self._calls(method)), str(failed)])
        title = f"Guest recovery, {len(self.judged)} compounds, {self.samples} samples each"
        made = table(title, [*headings, "calls", "failed"], rows)
        made.caption, made.caption_justify = self._rules(), "left"
        return made

    def _rules(self) -> str:
        """What counts, in words."""
        parameters = ", ".join(f"{name}={value}" for name, value in self.facts["matcher"].items())
        match = f"Match: StructureMatcher({parameters})."
        if not self.relaxes:
            return match
        tolerance = 1000 * self.facts["relaxation"]["energy_tolerance"]
        return f"{match} A relaxed sample counts when it matches, or lies lower by more than {tolerance:g} meV/atom."

    def _differences(self) -> Table:
        shares = self._some(_HEADINGS)
        headings = ["difference", *(_HEADINGS[name].format(n=self.samples) for name in shares)]
        rows = []
        for baseline in self.methods[1:]:
            line = [f"{self.methods[0]} - {baseline}", *(self.advantage(name, baseline).percent() for name in shares)]
            rows.append([*line, self.advantage("steps", baseline).text(0)] if self.relaxes else line)
        return table("Differences, paired by compound", [*headings, *(["steps"] if self.relaxes else [])], rows)

    def _by_guest(self) -> Table:
        rows = [
            [guest, str(len(members)), *(self.estimate(self._main, m, members).percent() for m in self.methods)]
            for guest, members in self._groups(lambda one: one.guest).items()
        ]
        title = f"By guest: {_HEADINGS[self._main]}"
        return table(title, ["guest", "compounds", *self.methods], rows)
