"""`chggen env`: environments for plug-ins that cannot share this one."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from chggen_kit.cli._shared import cli_state
from chggen_kit.errors import InputError


@click.group("env")
def command() -> None:
    """Make environments for plug-ins whose packages exclude this one's, and list them."""


@command.command("create")
@click.argument("name")
@click.option("--path", "folder", type=click.Path(path_type=Path), help="Folder of the environment [the user's own].")
@click.option("--python", help="Interpreter to make it with [this one].")
@click.option("--torch", metavar="REQUIREMENT", help="PyTorch, as torch==2.4.1 [the version that is installed here].")
@click.option("--with", "extra", multiple=True, metavar="REQUIREMENT", help="Something else to install; repeatable.")
@click.option("--user", is_flag=True, help="Enter it in the user's chggen.toml, not in that of this directory.")
@click.option("--force", is_flag=True, help="Make it anew where it is there already.")
@click.option("--dry-run", is_flag=True, help="Print the commands, and do nothing.")
def create(
    name: str,
    folder: Path | None,
    python: str | None,
    torch: str | None,
    extra: tuple[str, ...],
    *,
    user: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Make a virtual environment for the potential or score model NAME, with the packages that it declares.

    They come from where pip is configured to look. The environment is entered in chggen.toml, so that NAME runs there
    from then on, in a process of its own; nothing else of this environment changes.
    """
    from chggen_kit.isolated.environment import (
        default_folder,
        enter_in_table,
        find_entry,
        make_environment,
        recipe,
        table_file,
    )

    state = cli_state()
    entry = find_entry(state.registry(), name)
    where = (folder or default_folder(name)).expanduser().absolute()
    how = recipe(entry, where, python=python, torch=torch, extra=extra)
    file = table_file(user=user)
    if dry_run:
        for line in how.commands:
            click.echo(shlex.join(line))
        click.echo(f"# then {name} is entered in {file}")
        return
    if not how.requirements:
        raise InputError(f"{name} declares no packages of its own, so it needs no environment of its own.")
    click.echo(f"Making {where}; this takes some minutes.", err=True)
    interpreter = make_environment(how, force=force)
    entered = enter_in_table(name, interpreter, file)
    click.echo(f"{name} runs in {where}" + (f" (entered in {file})." if entered else f" (as {file} says)."))


@command.command("list")
def show() -> None:
    """List the environments of chggen.toml and CHGGEN_ENVIRONMENTS."""
    from chggen_kit.plugins.environments import read_environments

    table = read_environments()
    for name, environment in sorted(table.items()):
        there = "" if environment.python.exists() else "  (there is no such interpreter)"
        click.echo(f"{name}: {environment.python}  [{environment.source}]{there}")
    if not table:
        click.echo("No plug-in runs in an environment of its own. `chggen env create NAME` makes one.")
