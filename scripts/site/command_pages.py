"""The reference of the command line, from click's own commands."""

from __future__ import annotations

import inspect

import click
from markdown_tables import code, prose, table

from chggen_kit.cli import VERBS, cli
from chggen_kit.cli._state import global_options
from chggen_kit.plugins import Registry
from chggen_kit.plugins.discovery import OWN_DISTRIBUTION


def command_pages() -> dict[str, str]:
    """Text by path of the index and of one page for each verb."""
    root = click.Context(cli, info_name="chggen")
    pages = {}
    for name in VERBS:
        command = cli.get_command(root, name)
        if command is not None:
            pages[f"commands/{name}.md"] = "\n".join(_lines(command, root, name, level=1))
    rows = [(f"[`{name}`]({name}.md)", prose(short)) for name, (_, short) in VERBS.items()]
    shared = [option.get_help_record(root) for option in global_options()]
    options = [(code(record[0]), prose(record[1])) for record in shared if record]
    pages["commands/index.md"] = "\n".join(
        [
            "# Commands\n",
            "Made from the program: each page is what `chggen VERB --help` says.\n",
            table(("verb", "what it does"), rows),
            "Every verb takes these as well, before or after its name:\n",
            table(("option", "meaning"), options),
        ]
    )
    return pages


def _lines(command: click.Command, parent: click.Context, name: str, level: int) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent)
    path = context.command_path
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    lines = [f"{'#' * level} {path}\n", f"    {usage}\n"]
    paragraphs = inspect.cleandoc(command.help or "").replace("\b", "").split("\n\n")
    lines.extend(prose(paragraph) + "\n" for paragraph in paragraphs)
    shared = {name for option in global_options() for name in option.opts}
    records = [
        record
        for parameter in command.get_params(context)
        if not shared & set(parameter.opts) and "--help" not in parameter.opts
        if (record := parameter.get_help_record(context)) is not None
    ]
    if records:
        lines.append(table(("option", "meaning"), [(code(names), prose(text)) for names, text in records]))
    if isinstance(command, click.Group):
        own = {e.name for e in Registry.discover().entries("trainer") if e.origin.distribution == OWN_DISTRIBUTION}
        for below in command.list_commands(context):
            # Trainers are plug-ins, and those of others that happen to be installed are no part of this reference.
            if name == "train" and below not in own:
                continue
            found = command.get_command(context, below)
            if found is not None:
                lines += _lines(found, context, below, level + 1)
    return lines
