"""Options of the workflow `anneal`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from chggen_kit.cli._pipeline import AnyFunction, stack
from chggen_kit.errors import InputError

_SETTINGS = {
    "neighbours": "neighbours",
    "anneal_keep": "keep",
    "anneal_levels": "levels_A",
    "anneal_cycles": "cycles",
    "anneal_coarse_steps": "coarse_steps",
    "anneal_displacement": "max_displacement_A",
    "anneal_network_calls": "max_network_calls",
    "anneal_relax_steps": "max_relax_steps",
}


def anneal_options() -> Callable[[AnyFunction], AnyFunction]:
    """What `--workflow anneal` does, and how much of it."""
    return stack(
        click.option("--neighbours", type=int, help="anneal: symmetric structures that each one is projected on [6]."),
        click.option("--anneal-keep", type=int, help="anneal: structures that each round anneals [12]."),
        click.option(
            "--anneal-levels",
            metavar="Å,Å",
            help="anneal: noise that the rounds of a cycle denoise from [0.3,0.5,0.8].",
        ),
        click.option("--anneal-cycles", type=int, help="anneal: cycles at most; 0 only projects [1]."),
        click.option(
            "--anneal-coarse-steps", type=int, help="anneal: relaxation steps after which the worse half leaves [20]."
        ),
        click.option(
            "--anneal-displacement", type=float, metavar="Å", help="anneal: how far a projection moves an atom [1.5]."
        ),
        click.option(
            "--anneal-network-calls", type=int, help="anneal: no round begins after so many evaluations of the model."
        ),
        click.option("--anneal-relax-steps", type=int, help="anneal: no round begins after so many relaxation steps."),
    )


def anneal_settings(values: dict[str, Any]) -> dict[str, Any] | None:
    """Take the settings of annealing out of the values of a command; None where none was given.

    Raises:
        InputError: when they are given to another workflow, or the levels are no numbers.
    """
    given = {name: values.pop(value) for value, name in _SETTINGS.items()}
    given = {name: value for name, value in given.items() if value is not None}
    if given and values.get("workflow") != "anneal":
        raise InputError("Settings of annealing were given without --workflow anneal. Add it, or leave them out.")
    if "levels_A" in given:
        try:
            given["levels_A"] = [float(part) for part in given["levels_A"].split(",")]
        except ValueError:
            levels = given["levels_A"]
            raise InputError(
                f"--anneal-levels takes numbers in Å with commas between them, as 0.3,0.5,0.8, not {levels!r}."
            ) from None
    return given or None
