"""The symmetry report over files and runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.db
from pymatgen.core import Structure

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Progress
from chggen_kit.io.files import read_structures
from chggen_kit.metrics.moyopy_process import TIME_LIMIT_S, MoyopyProcess, moyopy_version
from chggen_kit.metrics.symmetry_ladder import RUNGS, Rung, SymmetryReport, climb
from chggen_kit.workflow.export import find_database
from chggen_kit.workflow.hosts_only import HostRelaxation, without
from chggen_kit.workflow.records import OK, StructureData

FILES = "files"
"""Source of structures that come from no run: they are counted together."""


@dataclass(frozen=True)
class _Named:
    name: str
    source: str
    structure: Structure | None
    """None for one that was started and did not come through."""


def report_on(
    targets: Sequence[Path],
    *,
    rungs: Sequence[Rung] = RUNGS,
    as_generated: bool = False,
    guests: Collection[str] = (),
    relaxation: HostRelaxation | None = None,
    moyopy: bool | None = None,
    time_limit_s: float = TIME_LIMIT_S,
    progress: Progress | None = None,
) -> SymmetryReport:
    """Symmetry of the structures of `targets`: structure files, run directories, and `results.db` of runs.

    The stages of a run are counted apart, and each run apart where there are several. Structures of a run that did
    not come through count as not symmetric.

    Args:
        targets: at least one.
        rungs: tolerances (Å, degrees).
        as_generated: structures of runs as drawn instead of as relaxed.
        guests: elements that are taken out first: the report is then on the hosts alone.
        relaxation: relaxes the hosts without their guests first (the baseline `relax-host-only`).
        moyopy: whether moyopy names groups too; None for where it is installed.
        time_limit_s: for one answer of moyopy.
        progress: told how many structures are done.

    Raises:
        InputError: when a target is missing, cannot be read, or there is nothing in it.
    """
    if not targets:
        raise InputError("Name structure files, or the directory of a run.")
    runs = [target for target in targets if _is_run(target)]
    everything: list[_Named] = []
    for target in targets:
        prefix = f"{target.name}: " if len(runs) > 1 else ""
        everything += _of_run(target, as_generated, prefix) if target in runs else _of_file(target)
    if guests:
        everything = _hosts(everything, guests, relaxation, progress)
    elif relaxation is not None:
        raise InputError("Name the guests that are taken out before the hosts are relaxed.")
    missing = Counter(one.source for one in everything if one.structure is None)
    wanted = moyopy_version() is not None if moyopy is None else moyopy
    process = MoyopyProcess(time_limit_s) if wanted else None
    ladders = []
    try:
        for number, one in enumerate(everything):
            if one.structure is not None:
                ladders.append(climb(one.structure, rungs, moyopy=process, name=one.name, source=one.source))
            if progress is not None:
                progress.update(number + 1, len(everything), one.name)
    finally:
        if process is not None:
            process.close()
    return SymmetryReport(ladders, tuple(rungs), dict(missing))


def _hosts(
    everything: Sequence[_Named], guests: Collection[str], relaxation: HostRelaxation | None, progress: Progress | None
) -> list[_Named]:
    """The hosts of all structures, relaxed where that is wanted; counted apart from the structures themselves."""
    suffix = "host alone" if relaxation is None else "host relaxed alone"
    bare = [None if one.structure is None else without(one.structure, guests, one.name) for one in everything]
    if relaxation is not None:
        given = [number for number, host in enumerate(bare) if host is not None]
        relaxed = relaxation([host for host in bare if host is not None], progress)
        for number, host in zip(given, relaxed, strict=True):
            bare[number] = host
    return [_Named(one.name, f"{one.source}, {suffix}", host) for one, host in zip(everything, bare, strict=True)]


def _is_run(target: Path) -> bool:
    return target.is_dir() or target.suffix == ".db"


def _of_file(path: Path) -> Iterator[_Named]:
    structures = read_structures(path)
    for number, structure in enumerate(structures):
        name = path.name if len(structures) == 1 else f"{path.name}#{number + 1}"
        yield _Named(name, FILES, structure)


def _of_run(path: Path, as_generated: bool, prefix: str) -> list[_Named]:
    database = find_database(path)
    try:
        with ase.db.connect(str(database), type="db", use_lock_file=False) as connection:
            found = [
                _Named(prefix + row.structure_id, prefix + row.stage, _structure(row, as_generated))
                for row in connection.select()
            ]
    except InputError:
        raise
    except Exception as error:
        # SQLite and ase raise errors of several kinds on a file that is not theirs.
        raise InputError(
            f"{database} is not a readable database of results: {type(error).__name__}: {error}."
        ) from error
    if not found:
        raise InputError(f"There are no structures in {database}.")
    return found


def _structure(row: Any, as_generated: bool) -> Structure | None:  # noqa: ANN401  ase.db's row, untyped
    if row.get("outcome") != OK:
        return None
    data = row.data.get("as_generated") if as_generated else row.data.get("relaxed") or row.data.get("as_generated")
    return None if data is None else StructureData.model_validate(data).structure()
