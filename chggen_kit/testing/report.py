"""What a conformance check measured: one result a law, and the report that collects them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chggen_kit.errors import PluginError


@dataclass(frozen=True)
class LawResult:
    """Outcome of one law.

    Attributes:
        law: short name of the law, e.g. `single-equals-batched`.
        measured: what was measured, in the units of `limit` (NaN when the check could not run).
        limit: the largest value that passes.
        passed: whether the law holds.
        detail: what was compared, where it was worst, or why the check could not run.
    """

    law: str
    measured: float
    limit: float
    passed: bool
    detail: str = ""

    @classmethod
    def at_most(cls, law: str, measured: float, limit: float, detail: str = "") -> LawResult:
        """Result of a law that holds when `measured` is at most `limit` (NaN fails)."""
        return cls(law, measured, limit, measured <= limit, detail)

    @classmethod
    def of(cls, law: str, *, holds: bool, detail: str = "") -> LawResult:
        """Result of a law that holds or not, without a number: 0 violations pass."""
        return cls(law, 0.0 if holds else 1.0, 0.0, holds, detail)


@dataclass(frozen=True)
class ConformanceReport:
    """Results of all laws for one subject; iterates over them.

    Attributes:
        subject: what was checked, e.g. `potential chgnet-0.3.0`.
        results: one entry a law, in the order checked.
    """

    subject: str
    results: tuple[LawResult, ...]

    def __iter__(self) -> Iterator[LawResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    @property
    def ok(self) -> bool:
        """Whether at least one law was checked and all hold."""
        return bool(self.results) and not self.failures

    @property
    def failures(self) -> tuple[LawResult, ...]:
        """The laws that do not hold."""
        return tuple(result for result in self.results if not result.passed)

    def table(self) -> str:
        """The results as plain text, one line a law."""
        width = max((len(result.law) for result in self.results), default=3)
        lines = [f"{'law':<{width}}  {'':<4}  {'measured':>10}  {'limit':>10}  detail"]
        lines += [
            f"{result.law:<{width}}  {'ok' if result.passed else 'FAIL':<4}  "
            f"{result.measured:>10.3g}  {result.limit:>10.3g}  {result.detail}"
            for result in self.results
        ]
        return "\n".join(line.rstrip() for line in lines)

    def raise_if_failed(self) -> None:
        """Raise `PluginError` with the table unless every law holds."""
        if self.ok:
            return
        names = ", ".join(result.law for result in self.failures) or "no law was checked"
        raise PluginError(f"The {self.subject} breaks its contract ({names}):\n{self.table()}")
