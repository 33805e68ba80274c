"""`chggen train NAME`: hands over to the trainer of a backend."""

from __future__ import annotations

from collections.abc import Mapping

import click

from chggen_kit.cli._groups import ListedGroup
from chggen_kit.cli._state import cli_state


class TrainerGroup(ListedGroup):
    """One command for each registered trainer, imported when it is called."""

    def summaries(self, ctx: click.Context) -> Mapping[str, str]:
        """Name and summary of every trainer, with what it lacks."""
        return {
            e.name: e.summary + (f" (not usable: {e.hint})" if e.missing else "")
            for e in cli_state(ctx).registry().entries("trainer")
        }

    def load(self, ctx: click.Context, name: str) -> click.Command:
        """The trainer's own command."""
        return cli_state(ctx).registry().load_trainer(name)

    def explain_unknown(self, ctx: click.Context, name: str) -> str:
        """Near matches, and what is broken."""
        return cli_state(ctx).registry().explain_unknown(name, "trainer")


command = TrainerGroup(name="train", help="Train a backend; each has options of its own (`chggen train NAME --help`).")
