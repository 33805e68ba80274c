"""The collector: one database of the results of all shards, and what can only be said of them together.

It is the only writer of the campaign's `results.db`, which it makes anew each time, in the order of the plan: the same
shards give the same rows, in whatever order they were done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.db
import numpy as np

from chggen_kit.campaign.candidates import Candidate, Found, rank_candidates, write_candidates
from chggen_kit.campaign.ledger import Ledger
from chggen_kit.campaign.shard import shard_folder
from chggen_kit.campaign.spec import CampaignSpec
from chggen_kit.errors import InputError, RunDirectoryError
from chggen_kit.interfaces import Progress
from chggen_kit.plugins import Registry
from chggen_kit.workflow.collect import plain_pairs
from chggen_kit.workflow.records import OK
from chggen_kit.workflow.rundir import publish, write_atomically

RESULTS_FILE = "results.db"
CANDIDATES_FILE = "candidates.csv"
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True)
class Collected:
    """What was collected.

    Attributes:
        shards, structures, candidates: numbers (candidates are symmetric, and distinct).
        database: where all structures are, without a password.
        table: file of the candidates.
    """

    shards: int
    structures: int
    candidates: int
    database: str
    table: Path


def collect(
    ledger: Ledger,
    folder: Path,
    spec: CampaignSpec,
    registry: Registry,
    *,
    database: str | None = None,
    progress: Progress | None = None,
) -> Collected:
    """Collect the shards that are done; see `Campaign.collect`.

    Raises:
        InputError: when the database is none that can be written.
        RunDirectoryError: when the results of a shard cannot be read.
    """
    lanes = {row["number"]: dict(row) for row in ledger.rows("SELECT * FROM lanes")}
    found: list[Found] = []
    shards = ledger.rows("SELECT name, lane FROM shards WHERE state = 'done' ORDER BY number")
    structures = 0
    with _target(folder, database, spec.name) as target:
        for index, shard in enumerate(shards):
            lane = lanes[shard["lane"]]
            for row in _rows(shard_folder(folder, shard["name"]) / "results.db"):
                structures += 1
                _copy(row, target, spec, lane, shard["name"])
                if (one := _found(row, lane, shard["name"], structures)) is not None:
                    found.append(one)
            if progress is not None:
                progress.update(index + 1, len(shards))
    candidates = rank_candidates(found, lanes, spec.matching, registry)
    write_candidates(folder / CANDIDATES_FILE, candidates)
    where = str(folder / RESULTS_FILE) if database is None else _without_password(database)
    summary = _summary(candidates, len(shards), structures, where)
    write_atomically(folder / SUMMARY_FILE, json.dumps(summary, indent=2) + "\n")
    return Collected(len(shards), structures, len(candidates), where, folder / CANDIDATES_FILE)


@contextmanager
def _target(folder: Path, url: str | None, campaign: str) -> Iterator[Any]:
    """The database, in one transaction."""
    if url is None:
        temporary = folder / f".{RESULTS_FILE}.tmp"
        for left_over in folder.glob(f".{RESULTS_FILE}.tmp*"):
            left_over.unlink()
        with ase.db.connect(str(temporary), type="db", append=False, use_lock_file=False) as target:
            yield target
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        publish(temporary, folder / RESULTS_FILE)
        return
    if not url.startswith(("postgresql://", "postgres://")):
        raise InputError(f"{_without_password(url)!r} is no PostgreSQL URL: postgresql://user:password@host:port/name.")
    try:
        connected = ase.db.connect(url.replace("postgres://", "postgresql://", 1), type="postgresql")
    except (ImportError, KeyError, ValueError) as error:
        raise InputError(
            "This environment has no PostgreSQL back end of ase. Install it with: pip install 'chggen-kit[postgresql]'."
        ) from error
    try:
        with connected as target:
            # Rows of an earlier collection of this campaign; those of others stay.
            target.delete([row.id for row in target.select(campaign=campaign, include_data=False)])
            yield target
    except Exception as error:
        # ase's back end fails once more when it takes the transaction back (it has no `rollback`); the server does so.
        chain = (error, error.__context__)
        cause = next((one for one in chain if type(one).__module__.startswith("psycopg2")), None)
        if cause is not None:
            raise RunDirectoryError(
                f"The database {_without_password(url)} cannot be used: {str(cause).strip()}. Nothing "
                "was changed there."
            ) from error
        raise


def _rows(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise RunDirectoryError(
            f"{path} is gone, though its shard is done. Delete the folder of the shard and the ledger, and run again."
        )
    with ase.db.connect(str(path), type="db", use_lock_file=False) as database:
        yield from database.select()


def _copy(row: Any, target: Any, spec: CampaignSpec, lane: Mapping[str, Any], shard: str) -> None:  # noqa: ANN401  ase
    pairs = {
        **row.key_value_pairs,
        **plain_pairs(
            {
                "campaign": spec.name,
                "target": lane["target"],
                "workflow": lane["workflow"],
                "campaign_seed": lane["seed"],
                "shard": shard,
            }
        ),
    }
    # The shard's own identity was drawn at random; this one is the same whenever it is collected. The campaign is part
    # of it, because two campaigns in one database can have the same shard.
    name = f"{spec.name}/{shard}/{row.structure_id}"
    row.unique_id = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    target.write(row, key_value_pairs=pairs, data=row.data)


def _found(row: Any, lane: Mapping[str, Any], shard: str, number: int) -> Found | None:  # noqa: ANN401  ase
    values = row.key_value_pairs
    if values["outcome"] != OK or values.get("spacegroup_number") is None:
        return None
    return Found(
        number=number,
        lane=lane["number"],
        shard=shard,
        structure_id=values["structure_id"],
        stage=values["stage"],
        group=int(values["spacegroup_number"]),
        group_symbol=str(values.get("spacegroup_symbol", "")).strip("'"),
        energy=None if values.get("energy_per_atom") is None else float(values["energy_per_atom"]),
        E_d=None if values.get("E_d") is None else float(values["E_d"]),
        energy_frame=str(values.get("energy_frame", "")),
        numbers=np.asarray(row.numbers, dtype=np.int16),
        positions=np.asarray(row.positions, dtype=np.float64),
        cell=np.asarray(row.cell, dtype=np.float64),
    )


def _without_password(url: str) -> str:
    """`url` as it may be printed."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{place}"


def _summary(candidates: list[Candidate], shards: int, structures: int, database: str) -> dict[str, Any]:
    systems: dict[str, dict[str, Any]] = {}
    for one in candidates:
        entry = systems.setdefault(
            f"{one.system}, {one.potential}",
            {"candidates": 0, "on_hull": 0, "best": one.formula, "best_E_d": one.E_d, "references": one.references},
        )
        entry["candidates"] += 1
        entry["on_hull"] += one.E_hull is not None and one.E_hull <= 0
    return {
        "shards": shards,
        "structures": structures,
        "distinct_candidates": len(candidates),
        "database": database,
        "systems": systems,
    }
