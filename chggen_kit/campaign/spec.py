"""The specification of a campaign, in YAML: targets times methods times seeds, cut into shards of work.

What a run takes (`chggen_kit.workflow.config`) is not listed again here: every setting of a run may stand among the
`settings` of the campaign or of a target, and the target's value wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chggen_kit.errors import InputError, unknown_name
from chggen_kit.execution.yaml_files import read_yaml, validated
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, PluginChoice

OF_THE_GRID = frozenset(
    {"verb", "seed", "n", "formula", "chemical_system", "atoms", "host", "guest_counts", "workflow", "backend"}
    | {"potential"}
)
SETTINGS = (frozenset(GenerateConfig.model_fields) | frozenset(InpaintConfig.model_fields)) - OF_THE_GRID
"""Settings of runs that a campaign and its targets may give."""

Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Workflow = Literal["paper", "anneal", "inpaint"]


def _refuse_unknown(value: Mapping[Any, Any], known: Iterable[str], what: str) -> None:
    choices = set(known)
    for key in value:
        if key not in choices:
            raise ValueError(unknown_name(what, str(key), choices))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:  # noqa: ANN401  whatever the file holds
        if isinstance(value, Mapping):
            _refuse_unknown(value, cls.model_fields, "key")
        return value


class TargetSpec(_Strict):
    """What is to be predicted; it can stand for many compositions or hosts. Exactly one of the first four is given.

    Attributes:
        formulas: compositions of one formula unit.
        table: CSV file with a column `formula`; a column `guests`, where there is one, holds elements as in `Li,Na`.
        pattern: a chemical system with amounts that vary, such as `Li_xSi_y` or `Li_xFePO4`; multiples of smaller
            formulas are left out.
        hosts: folder of structure files, or one file, that guests are drawn into (workflow `inpaint`).
        ranges: smallest and largest amount of each variable of a pattern.
        most_atoms: of a formula unit of a pattern.
        guests: of compositions the elements that are taken out and drawn again, or `auto`; of hosts the number of atoms
            by element, which may be left out for disordered ones: their partially occupied species.
        supercell: repetitions of hosts along a, b, c.
        settings: of runs, laid over those of the campaign.
    """

    formulas: tuple[str, ...] = ()
    table: Path | None = None
    pattern: str | None = None
    hosts: Path | None = None
    ranges: dict[str, tuple[Annotated[int, Field(ge=0)], int]] = {}
    most_atoms: int | None = Field(default=None, ge=1)
    guests: dict[str, Annotated[int, Field(ge=1)]] | tuple[str, ...] | Literal["auto"] | None = None
    supercell: tuple[int, int, int] = (1, 1, 1)
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> TargetSpec:
        given = [bool(self.formulas), self.table is not None, self.pattern is not None, self.hosts is not None]
        if sum(given) != 1:
            raise ValueError("give a target exactly one of formulas, table, pattern and hosts")
        if self.pattern is None and (self.ranges or self.most_atoms is not None):
            raise ValueError("ranges and most_atoms belong to a pattern")
        if any(low > high for low, high in self.ranges.values()):
            raise ValueError("a range is the smallest amount, then the largest")
        if self.hosts is None and (isinstance(self.guests, dict) or self.supercell != (1, 1, 1)):
            raise ValueError("numbers of guests and supercells are of hosts; compositions have guests as in [Li]")
        if self.hosts is not None and self.guests is not None and not isinstance(self.guests, dict):
            raise ValueError("guests of hosts come with their numbers, as in {Li: 4}")
        if min(self.supercell) < 1:
            raise ValueError("a supercell has three whole numbers of at least 1")
        return self

    @field_validator("settings")
    @classmethod
    def _known_settings(cls, settings: dict[str, Any]) -> dict[str, Any]:
        _refuse_unknown(settings, SETTINGS, "setting")
        return settings


class Matching(_Strict):
    """When two structures are the same: tolerances of pymatgen's StructureMatcher.

    Attributes:
        stol: of sites, over (V/N)^(1/3).
        ltol: of cell lengths, fractional.
        angle_tolerance_deg: of cell angles in degrees.
        most: structures of a composition and potential that are compared, lowest in energy first.
    """

    stol: float = Field(default=0.3, gt=0)
    ltol: float = Field(default=0.2, gt=0)
    angle_tolerance_deg: float = Field(default=5.0, gt=0)
    most: int = Field(default=200, ge=1)


class CampaignSpec(_Strict):
    """A campaign.

    Attributes:
        name: of the campaign.
        about: what it is for.
        targets: at least one.
        workflows: of compositions `paper` and `anneal`; hosts are always `inpaint`.
        backends: score models; None for the kit's own.
        potentials: potentials; None for the kit's own.
        seeds: the whole is done once for each.
        starts: of each target, method and seed, for each number of formula units; structures, where there is a host.
        shard_atoms: starts times atoms in one shard, at most (one start can be more). It fixes what is worked on
            together, and so belongs to the result.
        settings: of all runs.
        executor: where shards run; not part of the result.
        worker_deaths: a shard that kills its worker so often is set aside. Raise it where workers die of other causes,
            on nodes that can be taken away at any time for example.
        matching: when structures count as the same.
    """

    name: Name
    about: str = ""
    targets: tuple[TargetSpec, ...] = Field(min_length=1)
    workflows: tuple[Workflow, ...] = Field(default=("paper",), min_length=1)
    backends: tuple[PluginChoice, ...] | None = Field(default=None, min_length=1)
    potentials: tuple[PluginChoice, ...] | None = Field(default=None, min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    starts: int = Field(default=8, ge=1)
    shard_atoms: int = Field(default=512, ge=1)
    settings: dict[str, Any] = {}
    executor: PluginChoice = PluginChoice(name="local")
    worker_deaths: int = Field(default=2, ge=1)
    matching: Matching = Matching()

    @field_validator("settings")
    @classmethod
    def _known_settings(cls, settings: dict[str, Any]) -> dict[str, Any]:
        _refuse_unknown(settings, SETTINGS, "setting")
        return settings

    @field_validator("workflows", "seeds", "backends", "potentials")
    @classmethod
    def _no_two_alike(cls, values: Any) -> Any:  # noqa: ANN401  a tuple of what is above
        if values is not None and any(one in values[:index] for index, one in enumerate(values)):
            raise ValueError("an entry is given twice")
        return values

    @model_validator(mode="after")
    def _workflows_fit(self) -> CampaignSpec:
        formulas = any(target.hosts is None for target in self.targets)
        if formulas and set(self.workflows) == {"inpaint"}:
            raise ValueError("the workflow inpaint needs hosts; compositions take paper or anneal")
        return self


def read_campaign(path: str | Path) -> CampaignSpec:
    """The specification in a YAML file; paths in it start from its folder.

    Raises:
        InputError: when there is none, or it is not valid.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the specification {path}: {error}.") from error
    plain = read_yaml(text, str(path))
    if not isinstance(plain, Mapping):
        raise InputError(f"{path} holds no specification: a mapping with `name` and `targets`.")
    return validated(CampaignSpec, _with_paths(plain, path.parent), str(path))


def _with_paths(plain: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    result = dict(plain)
    targets = plain.get("targets")
    if isinstance(targets, list):
        result["targets"] = [_resolved(one, folder, ("table", "hosts")) for one in targets]
    for holder in (result, *(one for one in result.get("targets") or () if isinstance(one, dict))):
        if "settings" in holder:
            holder["settings"] = _resolved(holder["settings"], folder, ("checkpoint", "references"))
    return result


def _resolved(entry: Any, folder: Path, keys: tuple[str, ...]) -> Any:  # noqa: ANN401  whatever the file holds
    if not isinstance(entry, Mapping):
        return entry
    result = dict(entry)
    for key in keys:
        value = result.get(key)
        # The name of a released model, or a word such as `auto`, is no path.
        if isinstance(value, str) and not Path(value).is_absolute() and (folder / value).exists():
            result[key] = str((folder / value).resolve())
    return result


def json_schema() -> dict[str, Any]:
    """JSON schema of a specification, the settings of runs included."""
    schema = CampaignSpec.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    settings: dict[str, Any] = {}
    for config in (InpaintConfig, GenerateConfig):
        of_runs = config.model_json_schema()
        definitions |= {name: one for name, one in of_runs["$defs"].items() if name not in definitions}
        settings |= {name: one for name, one in of_runs["properties"].items() if name in SETTINGS}
    closed = {"type": "object", "properties": settings, "additionalProperties": False, "default": {}}
    schema["properties"]["settings"] = {**closed, "title": "Settings of all runs"}
    definitions["TargetSpec"]["properties"]["settings"] = {**closed, "title": "Settings laid over the campaign's"}
    return schema
