"""From the targets of a specification to single compositions and hosts."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chggen_kit.campaign.spec import TargetSpec
from chggen_kit.errors import InputError
from chggen_kit.io.disorder import read_host
from chggen_kit.workflow.formula import atom_counts, check_symbol, parse_composition
from chggen_kit.workflow.records import StructureData

_MOST = 1_000_000
_TERM = re.compile(r"([A-Z][a-z]?)(?:_([a-z])|(\d*))")
_SUFFIXES = frozenset({".cif", ".vasp", ".poscar", ".xyz", ".extxyz", ".json"})


@dataclass(frozen=True)
class Target:
    """One composition, or one host with its guests.

    Attributes:
        name: formula, or the name of the host's file.
        n_atoms: in one formula unit, or in the filled host.
        values: what a run's configuration takes of it.
    """

    name: str
    n_atoms: int
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_host(self) -> bool:
        """Whether guests are drawn into a given host."""
        return "host" in self.values


def expand(spec: TargetSpec) -> Iterator[Target]:
    """Compositions and hosts of a target, in a fixed order.

    Raises:
        InputError: when one cannot be read.
    """
    if spec.hosts is not None:
        yield from _hosts(spec, spec.hosts)
    elif spec.table is not None:
        for formula, guests in _rows(spec.table):
            yield _composition(formula, spec, guests)
    elif spec.pattern is not None:
        for formula in formulas_of(spec.pattern, spec.ranges, spec.most_atoms):
            yield _composition(formula, spec)
    else:
        for formula in spec.formulas:
            yield _composition(formula, spec)


def _composition(formula: str, spec: TargetSpec, guests: tuple[str, ...] | None = None) -> Target:
    counts = atom_counts(parse_composition(formula))
    values: dict[str, Any] = {**spec.settings, "formula": formula}
    chosen = guests if guests is not None else spec.guests
    if chosen is not None:
        values["guests"] = chosen
    return Target(formula, sum(counts.values()), values)


def formulas_of(pattern: str, ranges: Mapping[str, tuple[int, int]], most_atoms: int | None = None) -> Iterator[str]:
    """Formulas of a pattern such as `Li_xSi_y`, the amounts of later variables varying fastest.

    A formula whose amounts have a common divisor is left out (cells of several formula units are a setting of runs),
    and so is one with an amount of nothing but zeros. An element with the amount 0 is not in the formula.

    Raises:
        InputError: for a pattern that cannot be read, and variables without a range or ranges without a variable.
    """
    terms: list[tuple[str, str | int]] = []
    position = 0
    while position < len(pattern):
        term = _TERM.match(pattern, position)
        if term is None:
            raise InputError(
                f"Cannot read the pattern {pattern!r} from {pattern[position:]!r} on. Write elements with whole "
                "amounts or variables of one letter, as in Li_xSi_y or Li_xFePO4."
            )
        terms.append((check_symbol(term[1], f"the pattern {pattern!r}"), term[2] or int(term[3] or 1)))
        position = term.end()
    variables = list(dict.fromkeys(amount for _, amount in terms if isinstance(amount, str)))
    for name in (*variables, *ranges):
        if (name in variables) != (name in ranges):
            have = "no range" if name in variables else "a range, and does not occur"
            raise InputError(
                f"The variable {name} of the pattern {pattern!r} has {have}. Each needs [smallest, largest]."
            )
    if not variables:
        raise InputError(f"The pattern {pattern!r} has no variable: give it among `formulas`.")
    if math.prod(high - low + 1 for low, high in (ranges[name] for name in variables)) > _MOST:
        raise InputError(f"The ranges of the pattern {pattern!r} span more than {_MOST} formulas. Narrow them.")
    for amounts in itertools.product(*(range(ranges[name][0], ranges[name][1] + 1) for name in variables)):
        value = dict(zip(variables, amounts, strict=True))
        counts: dict[str, int] = {}
        for symbol, amount in terms:
            counts[symbol] = counts.get(symbol, 0) + (value[amount] if isinstance(amount, str) else amount)
        counts = {symbol: count for symbol, count in counts.items() if count}
        total = sum(counts.values())
        if total and math.gcd(*counts.values()) == 1 and (most_atoms is None or total <= most_atoms):
            yield "".join(symbol if count == 1 else f"{symbol}{count}" for symbol, count in counts.items())


def _rows(path: Path) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if "formula" not in (reader.fieldnames or ()):
                raise InputError(f"The table {path} has no column `formula` in its first line.")
            for row in reader:
                guests = (row.get("guests") or "").strip()
                yield str(row["formula"]).strip(), tuple(one.strip() for one in guests.split(",")) if guests else None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Cannot read the table {path}: {error}.") from error


def _hosts(spec: TargetSpec, path: Path) -> Iterator[Target]:
    if not path.exists():
        raise InputError(f"There is no file or folder {path} of hosts.")
    files = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.suffix.lower() in _SUFFIXES)
    if not files:
        raise InputError(f"The folder {path} holds no structure files ({', '.join(sorted(_SUFFIXES))}).")
    for file in files:
        counts = dict(spec.guests) if isinstance(spec.guests, dict) else None
        structure, found = read_host(file, counts, spec.supercell)
        values = {**spec.settings, "host": StructureData.of(structure), "guest_counts": found}
        yield Target(file.stem, len(structure) + sum(found.values()), values)
