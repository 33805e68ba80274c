"""The tables of a benchmark: their columns, and how they are written and read. Everything else reads them.

One CSV file each, `structures.csv` and so on, in the folder of the benchmark. What does not apply is left empty. Floats
are written with the digits that read back the same number, so equal tables are equal files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chggen_kit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["text", "int", "float", "bool"]
_DTYPES: Mapping[Kind, str] = {"text": "string", "int": "Int64", "float": "Float64", "bool": "boolean"}

TOLERANCES_A = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""The ladder at which space groups are found: the rungs of `chggen symmetry` (`metrics.symmetry_ladder.RUNGS`)."""


def drawn_column(tolerance_A: float) -> str:
    """Column of `structures` with the space group as drawn, before relaxation."""
    return f"drawn_group_{tolerance_A:g}A"


def relaxed_column(tolerance_A: float) -> str:
    """Column of `structures` with the space group after relaxation."""
    return f"relaxed_group_{tolerance_A:g}A"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: of the column.
        kind: of its values.
        meaning: in words, with the unit.
    """

    name: str
    kind: Kind
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table and its columns, in their order.

    Attributes:
        name: of the table; its file is `NAME.csv`.
        about: what a row is.
        columns: in order.
    """

    name: str
    about: str
    columns: tuple[Column, ...]

    @property
    def file_name(self) -> str:
        """Name of its file in the folder of a benchmark."""
        return f"{self.name}.csv"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    def frame(self, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """`rows` as a frame with typed columns; values that a row lacks are missing.

        Raises:
            InputError: for a value under a name that is no column.
        """
        import pandas as pd

        listed = list(rows)
        strangers = sorted({key for row in listed for key in row} - set(self.names))
        if strangers:
            raise InputError(f"The table {self.name} has no column {', '.join(strangers)}.")
        return pd.DataFrame(
            {
                column.name: pd.array([row.get(column.name) for row in listed], dtype=_DTYPES[column.kind])
                for column in self.columns
            }
        )

    def write(self, frame: pd.DataFrame, folder: Path) -> Path:
        """Write `frame` as CSV into `folder`, all of it or nothing."""
        from chggen_kit.workflow.rundir import write_atomically

        target = folder / self.file_name
        write_atomically(target, frame[list(self.names)].to_csv(index=False, lineterminator="\n"))
        return target

    def read(self, folder: Path) -> pd.DataFrame:
        """The table of a benchmark.

        Raises:
            InputError: when there is none, or it has other columns.
        """
        import pandas as pd

        source = folder / self.file_name
        if not source.is_file():
            raise InputError(
                f"There is no {source}. Name the folder of a benchmark that has ended; the same `chggen benchmark` "
                "command goes on with one that has not."
            )
        types = {column.name: _DTYPES[column.kind] for column in self.columns}
        try:
            frame = pd.read_csv(source, dtype=types, keep_default_na=False, na_values=[""])
        except (ValueError, OSError) as error:
            raise InputError(f"Cannot read {source}: {error}. It was changed, or another version wrote it.") from error
        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise InputError(f"{source} lacks the columns {', '.join(missing)}: another version of the kit wrote it.")
        return frame[list(self.names)]


_CELL = Column("cell", "text", "identity of the cell (a hash of all that determines its result): its folder in cells/")
_SYSTEM = Column("system", "text", "name of the system in the specification")
_METHOD = Column("method", "text", "name of the method in the specification")
_SEED = Column("seed", "int", "seed in the specification")
_PART = Column("part", "int", "part of an equal-compute budget, from 0; 0 with equal counts")


@cache
def _groups() -> tuple[Column, ...]:
    drawn = [
        Column(drawn_column(one), "int", f"space group as drawn, at {one:g} Å; empty where none was found")
        for one in TOLERANCES_A
    ]
    relaxed = [Column(relaxed_column(one), "int", f"space group as relaxed, at {one:g} Å") for one in TOLERANCES_A]
    return (*drawn, *relaxed)


STRUCTURES = Table(
    "structures",
    "One structure of a method: each start has an `unconditional` one, failures included, and what descends from it. "
    "A host that the user gave has start 0 for all its structures.",
    (
        _CELL,
        _SYSTEM,
        _METHOD,
        _SEED,
        _PART,
        Column("start", "int", "start in the cell that it descends from"),
        Column("structure", "text", "identity in the cell, e.g. u0003 or i0003-2"),
        Column("stage", "text", "how it was made: unconditional, inpainted, projected, annealed"),
        Column("counted", "bool", "whether it is of the stage by which the method is judged"),
        Column("formula", "text", "reduced formula"),
        Column("n_atoms", "int", "atoms in the cell"),
        Column("outcome", "text", "ok, or the reason code of the failure (docs/runs.md)"),
        Column("parent", "text", "structure that it was projected or annealed from"),
        Column("host", "text", "host that it was inpainted into"),
        Column("host_outcome", "text", "of an unconditional structure: ok, or why there is no host (no-symmetry, ...)"),
        Column("host_group", "int", "space group of that host, or of the host that it was drawn into"),
        Column("host_symprec_A", "float", "tolerance in Å at which the host was found"),
        Column("host_displacement_A", "float", "largest displacement in Å of a host atom by symmetrisation"),
        Column(
            "guest_indices",
            "text",
            "0-based indices of the guest atoms in the CIF, with spaces between; empty without guests",
        ),
        Column("group", "int", "space group that counts: as relaxed, at the tolerance of the run"),
        Column("group_symbol", "text", "its Hermann-Mauguin symbol"),
        Column("symmetric", "bool", "came through, with a space group outside the system's excluded ones"),
        *_groups(),
        Column("energy_per_atom", "float", "eV/atom, relaxed"),
        Column("E_d", "float", "eV/atom from the hull of the references, negative below it; empty without references"),
        Column("energy_change", "float", "eV/atom on relaxation"),
        Column("max_displacement_A", "float", "largest displacement in Å of an atom on relaxation, drift removed"),
        Column("host_drift_A", "float", "the same over the host's atoms"),
        Column("converged", "bool", "whether the relaxation converged"),
        Column("relax_reason", "text", "how the relaxation ended"),
        Column("relax_steps", "int", "steps of the relaxation"),
        Column("network_calls", "int", "evaluations of the score model that it took part in"),
        Column("kind_id", "text", "structures of a system with the same kind_id are the same; empty if not compared"),
        Column("unique", "bool", "first of its kind among those of its method, seed and stage"),
        Column("novel", "bool", "none of the references; empty without references"),
        Column("match", "text", "reference that it is, if any"),
        Column("match_rms", "float", "root mean square distance from it over (V/N)^(1/3)"),
        Column("cif", "text", "path of its CIF from the folder of the benchmark: relaxed, or as drawn if it is not"),
    ),
)

CELLS = Table(
    "cells",
    "One run: a system, a method and a seed (with an equal-compute budget: one part of it).",
    (
        _CELL,
        _SYSTEM,
        _METHOD,
        _SEED,
        _PART,
        Column("status", "text", "done, failed or skipped"),
        Column("reason", "text", "why it failed or was skipped"),
        Column("path", "text", "its run directory, from the folder of the benchmark"),
        Column("starts", "int", "starts asked for (structures, where the host was given)"),
        Column("structures", "int", "structures of the counted stage"),
        Column("relaxed", "int", "of these, relaxed"),
        Column("symmetric", "int", "of these, symmetric"),
        Column("null_count", "int", "symmetric ones among random structures in the same steps"),
        Column("null_of", "int", "of how many"),
        Column("null_rate", "float", "their share"),
        Column("network_calls", "int", "evaluations of the score model, each for one batch of structures"),
        Column("cpu_seconds", "float", "CPU time of all finished pieces of work, in s"),
        Column("wall_seconds", "float", "wall time of the same, in s"),
        Column("peak_memory_MB", "float", "largest resident memory of the process in 10^6 bytes"),
        Column("device", "text", "device of the score model and the potential"),
    ),
)

MEASURED = ("cpu_seconds", "wall_seconds", "peak_memory_MB")
"""Columns of `cells` that are measured with a clock."""
MEASURED_QUANTITIES = ("cpu_seconds_per_start", "cpu_seconds_per_symmetric")
"""Rows of `quantities` that are: these and `MEASURED`, and nothing else, differ between equal runs."""

_SCOPE = (
    Column("scope", "text", "system, pooled (over systems), or n_atoms (over systems with that number of atoms)"),
    Column("system", "text", "name of the system; empty where pooled"),
    Column("n_atoms", "int", "atoms in the cell, for the scope n_atoms"),
)
_INTERVAL = (
    Column("low", "float", "lower end of the 95 % interval"),
    Column("high", "float", "upper end"),
    Column(
        "interval",
        "text",
        "wilson, wilson-starts, wilson-systems (each counts as one draw), newcombe, bootstrap (over systems), "
        "bootstrap-starts, none",
    ),
    Column("systems", "int", "systems in it"),
)

RATES = Table(
    "rates",
    "One rate of a method: in a system, over all systems, or over those with one number of atoms; seeds are pooled.",
    (
        *_SCOPE,
        _METHOD,
        Column("stage", "text", "stage whose structures are counted"),
        Column("counted", "bool", "whether the method is judged by that stage"),
        Column(
            "metric",
            "text",
            "symmetric, symmetric_start, symmetric_ladder, hosts, relaxed, converged, stable_0, stable_30, "
            "stable_100, symmetric_stable_100, symmetric_stable_100_start, unique, unique_symmetric, novel, matched, "
            "matched_start (docs/benchmark.md)",
        ),
        Column("state", "text", "of symmetric_ladder: drawn or relaxed; else empty"),
        Column("tolerance_A", "float", "tolerance in Å of the space groups that are counted"),
        Column("numerator", "int", "how many"),
        Column("denominator", "int", "of how many"),
        Column("denominator_name", "text", "of what"),
        Column("rate", "float", "numerator over denominator"),
        *_INTERVAL,
        Column("null_numerator", "int", "the same among random structures"),
        Column("null_denominator", "int", "of how many"),
        Column("null_rate", "float", "their share"),
        Column("null_low", "float", "lower end of its 95 % interval (Wilson)"),
        Column("null_high", "float", "upper end"),
        Column("null_name", "text", "what the null is of"),
    ),
)

QUANTITIES = Table(
    "quantities",
    "One measured quantity of a method's structures: energies, changes on relaxation, cost.",
    (
        *_SCOPE,
        _METHOD,
        Column("stage", "text", "stage whose structures are taken"),
        Column("counted", "bool", "whether the method is judged by that stage"),
        Column(
            "quantity",
            "text",
            "energy_per_atom, E_d, energy_change, max_displacement_A, host_drift_A, relax_steps; for the cost "
            "network_calls_per_start, cpu_seconds_per_start, cpu_seconds_per_symmetric",
        ),
        Column("unit", "text", "its unit"),
        Column("count", "int", "structures with a value"),
        Column("best", "float", "lowest value"),
        Column("quartile_1", "float", "a quarter lies below"),
        Column("median", "float", "half lies below"),
        Column("quartile_3", "float", "three quarters lie below"),
        Column("mean", "float", "mean"),
        *(
            Column(one.name, one.kind, f"{one.meaning}, of the median" if one.name in {"low", "high"} else one.meaning)
            for one in _INTERVAL
        ),
    ),
)

DIFFERENCES = Table(
    "differences",
    "One metric of two methods, paired: both over the same systems, resampled together.",
    (
        Column("metric", "text", "a metric of rates, or median E_d"),
        Column("tolerance_A", "float", "tolerance in Å, where the metric has one"),
        Column("method", "text", "first method"),
        Column("other", "text", "second method"),
        Column("rate", "float", "of the first method, over the systems that both have"),
        Column("other_rate", "float", "of the second"),
        Column("difference", "float", "first minus second"),
        *_INTERVAL,
        Column("excludes_zero", "bool", "whether the interval lies on one side of zero"),
    ),
)

TABLES = (STRUCTURES, CELLS, RATES, QUANTITIES, DIFFERENCES)
BENCHMARK_FILE = "benchmark.json"
"""The whole configuration, what it resolved to, versions, and notes (methods that were left out, and why)."""
