"""`chggen plugins list` and `show`: what is installed, what is broken, and what a plug-in can be told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import click

from chggen_kit.cli._state import cli_state
from chggen_kit.errors import ChggenError, PluginError
from chggen_kit.plugins import KINDS, OptionInfo, PluginEntry, Registry, describe_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_INFO_ATTRIBUTE = {"score-model": "capabilities", "potential": "info"}
"""Where an instance of a kind says what it can do."""


@click.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_command(as_json: bool) -> None:
    """List every plug-in: kind, name, version, distribution, status."""
    list_plugins(as_json)


@click.command(name="show")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default=None, help="Which, where several have the name.")
@click.option("--load/--no-load", default=True, help="Make it with its defaults to show its capabilities.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show_command(name: str, kind: str | None, load: bool, as_json: bool) -> None:
    """Show the options and the capabilities of NAME."""
    registry = cli_state().registry()
    found = [registry.get(kind, name)] if kind else registry.find(name)
    if not found:
        raise PluginError(registry.explain_unknown(name))
    described = [_describe(registry, entry, load) for entry in found]
    if as_json:
        click.echo(json.dumps([_plain(d) for d in described], indent=2, ensure_ascii=False))
        return
    for facts in described:
        _print_entry(facts)


def list_plugins(as_json: bool) -> None:
    """Print every plug-in, and what is broken."""
    registry = cli_state().registry()
    rows = [
        {
            "kind": e.kind,
            "name": e.name,
            "version": e.origin.version,
            "distribution": e.origin.distribution,
            "status": e.status,
            "summary": e.summary,
            "missing": list(e.missing),
            "hint": e.hint,
            "environment": e.origin.environment,
        }
        for e in registry.entries()
    ]
    broken = [
        {
            "entry_point": b.origin.entry_point,
            "version": b.origin.version,
            "distribution": b.origin.distribution,
            "reason": b.reason,
            "hint": b.hint,
        }
        for b in registry.broken
    ]
    if as_json:
        click.echo(json.dumps({"plugins": rows, "broken": broken}, indent=2, ensure_ascii=False))
        return
    from rich.text import Text

    console = _console()
    table = _table("kind", "name", "version", "distribution", "status", "summary, or how to get it")
    for row in rows:
        cells = [row[c] for c in ("kind", "name", "version", "distribution", "status")]
        place = f"In {row['environment']}: " if row["environment"] else ""
        cells.append(row["hint"] or f"{place}{row['summary']}")
        table.add_row(*(Text(str(c)) for c in cells), style="yellow" if row["missing"] else "")
    console.print(table)
    if broken:
        _say(console, f"\nBroken ({len(broken)}); the rest works without:", "red")
        for record in broken:
            source = f"{record['distribution']} {record['version']}".strip()
            _say(console, f"  {record['entry_point']} ({source}): {record['reason']}")
            if record["hint"]:
                _say(console, f"    to mend it: {record['hint']}")


def _describe(registry: Registry, entry: PluginEntry, load: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "distribution": entry.origin.distribution,
        "version": entry.origin.version,
        "entry_point": entry.origin.entry_point,
        "environment": entry.origin.environment,
        "status": entry.status,
        "hint": entry.hint,
        "options": [],
        "options_problem": "",
        "capabilities": {},
        "capabilities_problem": "",
    }
    if entry.missing:
        facts["options_problem"] = f"cannot be read before it is installed: {entry.hint}"
        return facts
    try:
        model = entry.load_options()
    except ChggenError as exc:
        facts["options_problem"] = str(exc)
    else:
        facts["options"] = describe_options(model) if model is not None else []
    attribute = _INFO_ATTRIBUTE.get(entry.kind)
    if load and attribute:
        try:
            facts["capabilities"] = _fields(getattr(registry.create_entry(entry), attribute))
        except ChggenError as exc:
            facts["capabilities_problem"] = str(exc)
    return facts


def _fields(info: object) -> dict[str, Any]:
    if not is_dataclass(info):
        return {"info": str(info)}
    return {f.name: getattr(info, f.name) for f in fields(info)}


def _print_entry(facts: Mapping[str, Any]) -> None:
    console = _console()
    _say(console, f"{facts['kind']} {facts['name']}", style="bold")
    if facts["summary"]:
        _say(console, f"  {facts['summary']}")
    source = f"{facts['distribution']} {facts['version']}".strip()
    _say(console, f"  from {source}, entry point {facts['entry_point']}; {facts['status']}")
    if facts["environment"]:
        _say(console, f"  runs in {facts['environment']}")
    if facts["options_problem"]:
        _say(console, f"  options: {facts['options_problem']}")
    elif facts["kind"] == "trainer":
        _say(console, f"  options: see `chggen train {facts['name']} --help`")
    elif not facts["options"]:
        _say(console, "  no options")
    else:
        from rich.text import Text

        table = _table("option", "type", "default", "meaning")
        for option in facts["options"]:
            table.add_row(*map(Text, (option.name, option.type, option.default, option.description)))
        console.print(table)
    for name, value in facts["capabilities"].items():
        _say(console, f"  {name}: {_readable(name, value)}")
    if facts["capabilities_problem"]:
        _say(console, f"  capabilities unknown: {facts['capabilities_problem']}")


def _readable(name: str, value: object) -> str:
    if name == "elements" and isinstance(value, frozenset):
        from ase.data import chemical_symbols

        return f"{len(value)}: " + " ".join(chemical_symbols[z] for z in sorted(value))
    if isinstance(value, tuple | list | frozenset | set):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None or value == "" else str(value)


def _plain(value: object) -> object:
    """`value` in types that JSON has."""
    if isinstance(value, OptionInfo):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, set | frozenset):
        return [_plain(v) for v in sorted(value)]
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a pipe has no width: wrap late rather than at 80
    return console


def _say(console: Console, text: str, style: str = "") -> None:
    """Write a line as it is: unwrapped, so that a pip line can be copied or searched for."""
    console.print(text, style=style, markup=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
