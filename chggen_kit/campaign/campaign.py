"""`Campaign`: a specification, run into a folder.

from chggen_kit.campaign import Campaign

campaign = Campaign("li-si.yaml", "campaigns/li-si")
campaign.run()
print(campaign.status().shards)
campaign.collect()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from chggen_kit.campaign.cost import MethodCost, method_costs, smallest_shards
from chggen_kit.campaign.driver import CANCEL_FILE, Driver
from chggen_kit.campaign.folder import enter_plan, open_campaign, recover
from chggen_kit.campaign.ledger import LEDGER_FILE, Ledger, State
from chggen_kit.campaign.plan import CampaignPlan, make_plan
from chggen_kit.campaign.shard import work_on
from chggen_kit.campaign.spec import CampaignSpec, read_campaign
from chggen_kit.campaign.status import Status, read_status
from chggen_kit.execution.inline import InlineExecutor
from chggen_kit.execution.locks import LockedError, held
from chggen_kit.interfaces import Executor, Progress
from chggen_kit.plugins import Registry, get_registry
from chggen_kit.workflow.assembly import library_versions
from chggen_kit.workflow.config import PluginChoice

if TYPE_CHECKING:
    from chggen_kit.campaign.collect import Collected

WHAT = "the campaign"
RETRIED: tuple[State, ...] = ("failed", "set-aside", "cancelled")


@dataclass(frozen=True)
class Counted:
    """What a plan holds, and what it will cost.

    Attributes:
        targets, lanes, shards, starts: numbers.
        atoms: starts times atoms.
    """

    targets: int
    lanes: int
    shards: int
    starts: int
    atoms: int


class Campaign:
    """A campaign in a folder.

    Args:
        spec: a specification, or its file.
        out: folder; `campaigns/NAME` by default.
        registry: plug-ins; those that are installed by default. Others are known to this process only, so shards are
            then run in it, one at a time.

    Raises:
        InputError: when the specification cannot be read.
    """

    def __init__(
        self, spec: CampaignSpec | str | Path, out: str | Path | None = None, *, registry: Registry | None = None
    ) -> None:
        self.spec = spec if isinstance(spec, CampaignSpec) else read_campaign(spec)
        self.folder = Path(out) if out is not None else Path("campaigns") / self.spec.name
        self._registry = registry

    @cached_property
    def registry(self) -> Registry:
        """The plug-ins."""
        return self._registry or get_registry()

    @cached_property
    def plan(self) -> CampaignPlan:
        """What is run.

        Raises:
            ChggenError: when a target, a method or a setting cannot be used.
        """
        return make_plan(self.spec, self.registry)

    def counted(self) -> Counted:
        """Numbers of the plan."""
        lanes = self.plan.lanes
        return Counted(
            targets=len({lane.target for lane in lanes}),
            lanes=len(lanes),
            shards=self.plan.n_shards,
            starts=sum(lane.starts for lane in lanes),
            atoms=sum(lane.starts * lane.start_atoms for lane in lanes),
        )

    def run(
        self,
        *,
        executor: PluginChoice | Executor | None = None,
        accept_versions: bool = False,
        progress: Progress | None = None,
    ) -> Status:
        """Run what is missing; a shard that fails does not end the others. The same call goes on when interrupted.

        Args:
            executor: in place of the specification's.
            accept_versions: go on with shards that were planned with other versions of the software.
            progress: told how many shards are done.

        Raises:
            ChggenError: when something cannot be used, the folder is another's, or nothing can be written any more.
        """
        plan = self.plan
        with self._open() as ledger:
            enter_plan(ledger, self.folder, plan, accept_versions=accept_versions)
            self._drive(ledger, executor, progress)
        return self.status()

    def calibrate(
        self, *, executor: PluginChoice | Executor | None = None, progress: Progress | None = None
    ) -> list[MethodCost]:
        """Run the smallest shard of each method that has none done yet (they count as any other), and tell the costs.

        Raises:
            ChggenError: as `run`.
        """
        plan = self.plan
        with self._open() as ledger:
            enter_plan(ledger, self.folder, plan)
            if chosen := smallest_shards(ledger):
                self._drive(ledger, executor, progress, chosen)
            return method_costs(ledger)

    def costs(self) -> list[MethodCost]:
        """Costs of the methods, as far as shards have been run; empty before."""
        if not (self.folder / LEDGER_FILE).exists():
            return []
        with Ledger(self.folder, read_only=True) as ledger:
            return method_costs(ledger)

    def status(self) -> Status:
        """How far it is."""
        return read_status(self.folder)

    def retry(self, *, states: Sequence[State] = RETRIED, targets: Sequence[str] = ()) -> int:
        """Let shards that failed, were set aside or were cancelled wait again; their number.

        Args:
            states: of those that are meant.
            targets: names of compositions or hosts; all by default.

        Raises:
            RunDirectoryError: when a driver works on the campaign.
        """
        with self._open() as ledger:
            return _change(ledger, states, "waiting", targets)

    def cancel(self, *, targets: Sequence[str] = ()) -> bool:
        """End the campaign: what is done stays, the rest is cancelled until `retry`.

        A driver that works on it ends its workers within seconds.

        Args:
            targets: names of compositions or hosts, of a campaign that no driver works on; all by default.

        Returns:
            Whether it is done; False where a driver was told.
        """
        try:
            with self._open() as ledger:
                recover(ledger, self.folder, ledger.numbers("running"))
                _change(ledger, ("waiting",), "cancelled", targets)
                return True
        except LockedError:
            if targets:
                raise
            (self.folder / CANCEL_FILE).touch()
            return False

    def collect(self, *, database: str | None = None, progress: Progress | None = None) -> Collected:
        """Bring the results of the shards that are done together.

        Args:
            database: URL of a PostgreSQL database in place of `results.db` (`postgresql://user:password@host/name`).
            progress: told how many shards were read.

        Raises:
            RunDirectoryError: when a driver or another collector works on the campaign, or a shard is damaged.
        """
        from chggen_kit.campaign.collect import collect

        with self._open() as ledger:
            return collect(ledger, self.folder, self.spec, self.registry, database=database, progress=progress)

    @contextmanager
    def _open(self) -> Iterator[Ledger]:
        with held(self.folder, WHAT):
            open_campaign(self.folder, self.spec)
            with Ledger(self.folder) as ledger:
                yield ledger

    def _drive(
        self,
        ledger: Ledger,
        executor: PluginChoice | Executor | None,
        progress: Progress | None,
        only: Sequence[int] | None = None,
    ) -> None:
        choice = executor if executor is not None else self.spec.executor
        name = choice.name if isinstance(choice, PluginChoice) else type(choice).__name__
        driver = Driver(ledger, self.folder, self._executor(choice), self.spec.worker_deaths, progress)
        if self._registry is not None:
            driver.task = partial(work_on, registry=self._registry)
        driver.run(name, {**library_versions(), **self.plan.versions}, only=only)

    def _executor(self, choice: PluginChoice | Executor) -> Executor:
        if isinstance(choice, Executor):
            return choice
        if self._registry is not None:
            return InlineExecutor()
        return cast("Executor", self.registry.create("executor", choice.name, choice.options))


def _change(ledger: Ledger, states: Sequence[State], state: State, targets: Sequence[str]) -> int:
    marks, names = ",".join("?" * len(states)), ",".join("?" * len(targets))
    query = f"UPDATE shards SET state = ?, deaths = 0 WHERE state IN ({marks})"  # noqa: S608  question marks
    if targets:
        query += f" AND lane IN (SELECT number FROM lanes WHERE target IN ({names}))"  # noqa: S608  question marks
    with ledger.writing() as db:
        return int(db.execute(query, [state, *states, *targets]).rowcount)
