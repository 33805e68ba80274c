"""Click groups that list their commands without importing them, and turn the kit's errors into exit codes."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import click

from chggen_kit.cli._state import cli_state, global_options
from chggen_kit.errors import (
    CheckpointError,
    ChggenError,
    InputError,
    PluginError,
    RunDirectoryError,
    unknown_name,
)

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""

_USERS_MISTAKES = (InputError, CheckpointError, PluginError, RunDirectoryError)


class CliFailure(click.ClickException):
    """One of the kit's errors on its way to the user."""

    exit_code = 1


class CliRefusal(CliFailure):
    """An error that the user can mend."""

    exit_code = 2


def add_global_options(command: click.Command) -> click.Command:
    """Let `command`, and every command below it, take the global options too; they keep those that clash."""
    taken = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    command.params += [o for o in global_options() if not taken & set(o.opts)]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_global_options(below)
    return command


class ListedGroup(click.Group):
    """A group whose commands are listed from short texts and imported only when they are called."""

    @abstractmethod
    def summaries(self, ctx: click.Context) -> Mapping[str, str]:
        """Name and short help of every command, in the order of listing."""

    @abstractmethod
    def load(self, ctx: click.Context, name: str) -> click.Command:
        """The command `name`, which is one of `summaries`."""

    def explain_unknown(self, ctx: click.Context, name: str) -> str:
        """Message for a name that is none of `summaries`."""
        return unknown_name("command", name, self.summaries(ctx))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(self.summaries(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported, with the global options added; None when there is none of that name."""
        if cmd_name not in self.summaries(ctx):
            return None
        return add_global_options(self.load(ctx, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begin with; near matches for one that does not exist."""
        name = args[0]
        if name not in self.summaries(ctx) and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(self.explain_unknown(ctx, name), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from their summaries."""
        summaries = self.summaries(ctx)
        if summaries:
            with formatter.section("Commands"):
                formatter.write_dl(list(summaries.items()))


class VerbGroup(ListedGroup):
    """The root: its verbs are a table of import strings and short helps; those `resumable` go on where they were."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's
        verbs: Mapping[str, tuple[str, str]],
        resumable: Collection[str] = (),
        **kwargs: Any,  # noqa: ANN401 - click's
    ) -> None:
        super().__init__(*args, **kwargs)
        self._verbs = verbs
        self._resumable = resumable

    def summaries(self, ctx: click.Context) -> Mapping[str, str]:
        """Name and short help of every verb."""
        del ctx
        return {name: text for name, (_, text) in self._verbs.items()}

    def load(self, ctx: click.Context, name: str) -> click.Command:
        """Import the verb's command."""
        from chggen_kit.plugins.entry import load_import_string

        del ctx
        command = load_import_string(self._verbs[name][0])
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._verbs[name][0]} is a {type(command).__name__}, not a click command.")
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run the verb; the kit's errors become messages with an exit code, Ctrl-C a sentence."""
        cli_state(ctx).configure()
        try:
            return super().invoke(ctx)
        except ChggenError as exc:
            logging.getLogger(__name__).debug("The error came from here.", exc_info=exc)
            refusal = CliRefusal if isinstance(exc, _USERS_MISTAKES) else CliFailure
            raise refusal(str(exc) or type(exc).__name__) from exc
        except KeyboardInterrupt:
            advice = (
                " A run with --out goes on where it was when the same command is given again."
                if ctx.invoked_subcommand in self._resumable
                else ""
            )
            click.echo(f"\nInterrupted.{advice}", err=True)
            ctx.exit(INTERRUPTED)
