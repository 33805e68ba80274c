"""Options of the comparison of local environments, which `report` and `environments` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from chggen_kit.metrics.environments import EnvironmentSettings

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
FINDERS = ("crystal-nn", "voronoi", "minimum-distance", "econ")


def environment_options() -> Callable[[Decorated], Decorated]:
    """`--finder`, `--ligands`, `--r-max`."""

    def decorate(function: Decorated) -> Decorated:
        options = (
            click.option(
                "--finder",
                type=click.Choice(FINDERS),
                default=FINDERS[0],
                show_default=True,
                help="What decides who is a neighbour (pymatgen's classes).",
            ),
            click.option(
                "--ligands", metavar="El,El", help="Elements that count as neighbours, e.g. the anions [all]."
            ),
            click.option(
                "--r-max",
                "r_max_A",
                type=click.FloatRange(min=0.5, max=49.0),
                default=8.0,
                show_default=True,
                help="Distances in Å up to which g(r) is taken.",
            ),
        )
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def environment_settings(finder: str, ligands: str | None, r_max_A: float) -> EnvironmentSettings:
    """Settings that these options ask for.

    Raises:
        InputError: for a ligand that is no element.
    """
    from chggen_kit.metrics.environments import EnvironmentSettings
    from chggen_kit.workflow.formula import check_symbol

    chosen = tuple(check_symbol(one.strip(), "--ligands") for one in ligands.split(",")) if ligands else ()
    return EnvironmentSettings(r_max_A=r_max_A, finder=finder, ligands=chosen)
