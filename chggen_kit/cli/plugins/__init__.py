"""`chggen plugins`: list, explain and check what is installed, and begin a plug-in of one's own."""

from __future__ import annotations

import click

from chggen_kit.cli.plugins.check import check_command
from chggen_kit.cli.plugins.listing import list_command, list_plugins, show_command
from chggen_kit.cli.plugins.new import new_command


@click.group(name="plugins", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List what is installed; `chggen plugins show NAME` explains one, `check NAME` measures whether it keeps the laws.

    A plug-in that is broken is left out and explained at the end; --strict-plugins makes it an error. The environment
    variable CHGGEN_PLUGINS limits what is loaded to the entry points that it names, with commas between them.
    """
    if ctx.invoked_subcommand is None:
        list_plugins(as_json)


for _subcommand in (list_command, show_command, check_command, new_command):
    command.add_command(_subcommand)
