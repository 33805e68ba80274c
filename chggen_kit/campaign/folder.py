"""The folder of a campaign: what it belongs to, and how plan and ledger are brought together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chggen_kit.campaign.ledger import LEDGER_FILE, Ledger
from chggen_kit.campaign.plan import CampaignPlan, Lane, request_of
from chggen_kit.campaign.shard import SHARDS_FOLDER, read_outcome, shard_folder
from chggen_kit.campaign.spec import CampaignSpec
from chggen_kit.errors import RunDirectoryError
from chggen_kit.workflow.rundir import flatten, read_json, write_atomically

CAMPAIGN_FILE = "campaign.json"
_FORMAT = 1
_MAY_GROW = ("targets", "workflows", "backends", "potentials", "seeds", "starts")
"""Keys of the specification that may change: shards that both have are kept, others come on top."""
_MISSING = "(not set)"


def open_campaign(folder: Path, spec: CampaignSpec) -> None:
    """Make `folder` this campaign's, or check that it is. It must be held.

    Raises:
        RunDirectoryError: when it belongs to another campaign, or to something else.
    """
    path = folder / CAMPAIGN_FILE
    request = request_of(spec)
    if path.exists():
        stored = read_json(path)
        theirs = stored.get("request", {}) if isinstance(stored, dict) else {}
        fixed = [flatten({k: v for k, v in one.items() if k not in _MAY_GROW}) for one in (theirs, request)]
        keys = sorted({*fixed[0], *fixed[1]})
        differing = [key for key in keys if fixed[0].get(key, _MISSING) != fixed[1].get(key, _MISSING)]
        if differing:
            listing = "; ".join(
                f"{key} is {fixed[0].get(key, _MISSING)} there and {fixed[1].get(key, _MISSING)} here"
                for key in differing[:6]
            )
            raise RunDirectoryError(
                f"The folder {folder} belongs to another campaign: {listing}. Every result would change. Choose "
                f"another folder with --out, or put the specification back. ({', '.join(_MAY_GROW)} may change.)"
            )
        if theirs == request:
            return
    else:
        strangers = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
        if set(strangers) - {SHARDS_FOLDER, LEDGER_FILE}:
            raise RunDirectoryError(
                f"The folder {folder} holds other files ({', '.join(strangers[:3])}) and no {CAMPAIGN_FILE}, so it is "
                "no campaign. Choose an empty or a new folder with --out."
            )
    write_atomically(path, json.dumps({"format": _FORMAT, "request": request}, indent=2) + "\n")


def enter_plan(ledger: Ledger, folder: Path, plan: CampaignPlan, *, accept_versions: bool = False) -> None:
    """Bring the ledger to the plan: shards that are new are added, those that are not planned any more are left out.

    Shards that were running when a driver died are looked for in their folders, and wait again where they are not done.

    Args:
        ledger: of the campaign, whose folder is held.
        folder: of the campaign.
        plan: of it.
        accept_versions: go on with shards that were planned with other versions of the software.

    Raises:
        RunDirectoryError: when the versions are others and that is not accepted, or a shard's file is damaged.
    """
    was_empty = not ledger.rows("SELECT 1 FROM lanes LIMIT 1")
    stored = {row["key"]: row for row in ledger.rows("SELECT number, key, identity FROM lanes")}
    identities = {lane.key: _identity(lane, stored, folder, accept_versions=accept_versions) for lane in plan.lanes}
    with ledger.writing() as db:
        db.execute("CREATE TEMP TABLE planned (name TEXT PRIMARY KEY)")
        for lane in plan.lanes:
            known = stored.get(lane.key)
            number = known["number"] if known is not None else _add_lane(db, lane)
            shards = list(lane.shards(identities[lane.key]))
            db.executemany("INSERT INTO planned VALUES (?)", [(one.name,) for one in shards])
            db.executemany(
                "INSERT OR IGNORE INTO shards (name, lane, part, seed, starts, atoms) VALUES (?, ?, ?, ?, ?, ?)",
                [(s.name, number, s.part, s.seed, s.starts, s.starts * lane.start_atoms) for s in shards],
            )
        db.execute("UPDATE shards SET state = 'left-out' WHERE name NOT IN (SELECT name FROM planned)")
        db.execute(
            "UPDATE shards SET state = 'waiting' WHERE state = 'left-out' AND name IN (SELECT name FROM planned)"
        )
        db.execute("DROP TABLE planned")
    if was_empty and (folder / SHARDS_FOLDER).is_dir():
        recover(ledger, folder, ledger.numbers("waiting"))
    else:
        recover(ledger, folder, ledger.numbers("running"))


def recover(ledger: Ledger, folder: Path, numbers: list[int]) -> None:
    """Look what became of shards that nobody is on any more.

    Raises:
        RunDirectoryError: when a shard's file is damaged.
    """
    for number in numbers:
        shard = ledger.shard(number)
        found = read_outcome(shard_folder(folder, shard.name), shard.name)
        with ledger.writing() as db:
            if found is None:
                db.execute("UPDATE shards SET state = 'waiting' WHERE number = ?", [number])
            else:
                mark_done(db, number, found.model_dump())


def mark_done(db: Any, number: int, outcome: Mapping[str, Any]) -> None:  # noqa: ANN401  a connection
    """Enter what came of a shard."""
    values = {**outcome, "number": number, "oom": outcome["outcomes"].get("out-of-memory", 0)}
    db.execute(
        "UPDATE shards SET state = 'done', reason = NULL, structures = :structures, ok = :ok, "
        "candidates = :candidates, cpu_seconds = :cpu_seconds, wall_seconds = :wall_seconds, "
        "peak_memory_MB = :peak_memory_MB, out_of_memory = :oom WHERE number = :number",
        values,
    )


def _add_lane(db: Any, lane: Lane) -> int:  # noqa: ANN401  a connection
    cursor = db.execute(
        "INSERT INTO lanes (key, target, workflow, backend, potential, seed, start_atoms, verb, config, identity) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(lane.key, lane.target, lane.workflow, lane.backend, lane.potential, lane.seed, lane.start_atoms),
            *(lane.config.verb, lane.config.model_dump_json(), json.dumps(lane.identity, sort_keys=True)),
        ],
    )
    return int(cursor.lastrowid)


def _identity(lane: Lane, stored: Mapping[str, Any], folder: Path, *, accept_versions: bool) -> Mapping[str, Any]:
    """Identity by which the shards of a lane are named: that of the sitting which planned it."""
    row = stored.get(lane.key)
    if row is None:
        return lane.identity
    theirs: dict[str, Any] = json.loads(row["identity"])
    before, now = theirs["versions"], lane.identity["versions"]
    differing = [
        f"{k} {before.get(k, 'none')} -> {now.get(k, 'none')}" for k in {*before, *now} if before.get(k) != now.get(k)
    ]
    if differing and not accept_versions:
        raise RunDirectoryError(
            f"The campaign in {folder} was planned with other versions of the software: "
            f"{', '.join(sorted(differing)[:6])}. Put them back; or go on with --accept-versions: shards that "
            "are done are kept, and the last bits of the others may differ from what they would have been."
        )
    return theirs
