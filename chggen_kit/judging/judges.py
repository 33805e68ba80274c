"""Judges: potentials beside the run's own, made and checked before any work is done."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Element

from chggen_kit.errors import InputError
from chggen_kit.interfaces import Potential
from chggen_kit.plugins import Registry
from chggen_kit.plugins.environments import split_name
from chggen_kit.workflow.config import PluginChoice

TOP = 10
MARGIN_MEV = 10.0


class JudgeSettings(BaseModel):
    """What is judged, by whom, and how.

    Attributes:
        judges: the potentials.
        top: that many candidates, best first, are judged.
        margin_meV: energy differences in meV/atom up to this size do not count as an order of two candidates.
        fmax: limit on forces in eV/Å of the judges' relaxations; None for the run's.
        max_steps: None for the run's.
        references: what the judges' E_d is measured from, as `references` of a run.
        references_frame: frame of the energies of a phase diagram that does not tell.
        exclude_composition: leave references of a structure's own formula out; None for what the run did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    judges: tuple[PluginChoice, ...] = Field(min_length=1)
    top: int = Field(default=TOP, ge=1)
    margin_meV: float = Field(default=MARGIN_MEV, ge=0, allow_inf_nan=False)
    fmax: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_steps: int | None = Field(default=None, ge=1)
    references: str = Field(default="auto", min_length=1)
    references_frame: str | None = None
    exclude_composition: bool | None = None


@dataclass(frozen=True)
class Judge:
    """One potential that judges.

    Attributes:
        key: short name for rows and files, e.g. `chgnet_r2scan`; unique among the judges.
        choice: the plug-in, and the options that were given.
        options: all its options as plain JSON, those left at their defaults too.
        potential: ready for use.
        origin: distribution that provides the plug-in, and the environment that it runs in.
    """

    key: str
    choice: PluginChoice
    options: Mapping[str, Any]
    potential: Potential
    origin: str

    def identity(self) -> dict[str, Any]:
        """What its energies depend on, as plain JSON."""
        info = self.potential.info
        return {"options": dict(self.options), "potential": info.name, "energy_frame": info.energy_frame}


def make_judges(choices: Sequence[PluginChoice], registry: Registry) -> list[Judge]:
    """The judges, in the order given.

    Raises:
        InputError: when a judge is named twice, or an option does not fit.
        PluginError: for unknown or broken plug-ins.
    """
    judges: list[Judge] = []
    for choice in choices:
        potential = registry.create_potential(choice.name, choice.options)
        key = _key(potential.info.name)
        if any(one.choice == choice for one in judges):
            raise InputError(f"The judge {choice.name} is named twice with the same options.")
        taken = [one.key for one in judges]
        if key in taken:
            key = next(f"{key}_{number}" for number in range(2, len(taken) + 3) if f"{key}_{number}" not in taken)
        origin = str(registry.get("potential", choice.name).origin)
        judges.append(Judge(key, choice, _resolved(choice, registry), potential, origin))
    return judges


def _resolved(choice: PluginChoice, registry: Registry) -> dict[str, Any]:
    """All options of a potential that exists, as far as they are known here (another environment may hide them)."""
    model = registry.options_model("potential", choice.name)
    plain: dict[str, Any]
    if model is not None:
        plain = model.model_validate(choice.options).model_dump(mode="json")
    else:
        plain = json.loads(json.dumps(dict(choice.options), default=str, sort_keys=True))
    return plain


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "judge"


def check_covered(judges: Sequence[Judge], symbols: Collection[str]) -> None:
    """Refuse judges that do not cover an element.

    Raises:
        InputError: naming the judge and the elements.
    """
    for judge in judges:
        info = judge.potential.info
        missing = sorted(symbol for symbol in set(symbols) if Element(symbol).Z not in info.elements)
        if missing:
            raise InputError(
                f"The judge {info.name} does not cover {', '.join(missing)}, so it has no opinion on these structures. "
                "Leave it out, or choose another with --judge."
            )


def check_another(judges: Sequence[Judge], own: PluginChoice, registry: Registry) -> None:
    """Refuse the run's `own` potential as a judge, wherever it runs.

    Raises:
        InputError: naming it.
    """
    for judge in judges:
        same = split_name(judge.choice.name)[0] == split_name(own.name)[0]
        if same and judge.options == _resolved(own, registry):
            raise InputError(
                f"The judge {judge.potential.info.name} is the run's own potential, whose opinion is known. Name "
                "another potential, or other weights of it (for example chgnet:weights=r2scan)."
            )
