"""A page for every built-in plug-in, from the registry and the pydantic models of the options."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from markdown_tables import code, prose, table

from chggen_kit.plugins import KINDS, PluginEntry, Registry, describe_options
from chggen_kit.plugins.discovery import OWN_DISTRIBUTION
from chggen_kit.plugins.requirements import pip_line

_KINDS = {
    "score-model": (
        "Score models",
        "`--backend {0}`, its options with `--backend-option NAME=VALUE`",
        "create_score_model",
    ),
    "sampler": ("Samplers", "`--sampler {0}`, its options with `--sampler-option NAME=VALUE`", "create_sampler"),
    "host-refiner": (
        "Host refiners",
        "`--refiner {0}`, its options with `--refiner-option NAME=VALUE`",
        "create_host_refiner",
    ),
    "relaxer": ("Relaxers", "`--relaxer {0}`, its options with `--relaxer-option NAME=VALUE`", "create_relaxer"),
    "potential": (
        "Potentials",
        "`--potential {0}`, its options with `--potential-option NAME=VALUE`",
        "create_potential",
    ),
    "trainer": ("Trainers", "[`chggen train {0}`](../commands/train.md)", ""),
    "executor": ("Executors", "`--executor {0}`, its options with `--executor-option NAME=VALUE`", ""),
}
"""Title of a kind, how one of it is chosen on the command line, and the registry's method that makes one."""
_GUIDES = {
    "score-model": {"nequip": "training", "diffcsp": "diffcsp", "mattergen": "mattergen"},
    "sampler": {"": "samplers"},
    "host-refiner": {"": "refiners"},
    "relaxer": {"": "relaxation"},
    "potential": {"": "potentials"},
    "trainer": {"nequip": "training", "diffcsp": "diffcsp-training"},
    "executor": {"": "campaigns"},
}
"""The page that explains a plug-in at length, by kind and name; the empty name is for all of a kind."""


def plugin_pages() -> dict[str, str]:
    """Text by path of the index and of one page for each plug-in of this distribution."""
    entries = [e for e in Registry.discover().entries() if e.origin.distribution == OWN_DISTRIBUTION]
    pages = {f"plugins/{e.kind}-{e.name}.md": _page(e) for e in entries}
    pages["plugins/index.md"] = _index(entries)
    return pages


def _index(entries: list[PluginEntry]) -> str:
    lines = [
        "# Plug-ins\n",
        (
            "What the kit brings, as `chggen plugins` lists it. All of it registers through the entry-point group "
            "`chggen_kit`, as [your own](../add-a-plugin.md) does. The pages are made from the registry; "
            "`chggen plugins show NAME` prints the same.\n"
        ),
    ]
    for kind in KINDS:
        lines.append(f"## {_how(kind)[0]}\n")
        rows = [
            (f"[`{e.name}`]({e.kind}-{e.name}.md){' (default)' if e.default else ''}", prose(e.summary))
            for e in entries
            if e.kind == kind
        ]
        lines.append(table(("name", "what it is"), rows))
    return "\n".join(lines)


def _page(entry: PluginEntry) -> str:
    _, choosing, method = _how(entry.kind)
    lines = [f"# {entry.name} ({entry.kind})\n", prose(entry.summary).rstrip(".") + ".\n"]
    if about := _about(entry):
        lines.append(about + "\n")
    if choosing:
        lines.append(f"On the command line: {choosing.format(entry.name)}.\n")
    if method:
        over = ", potential=…" if entry.kind == "relaxer" else ""
        lines.append(
            f'From Python: `chggen_kit.plugins.get_registry().{method}("{entry.name}", {{"option": value}}{over})`.\n'
        )
    if entry.requires:
        lines.append(
            f"Needs {', '.join(map(code, entry.requires))}; where that is missing: "
            f"`{pip_line(entry.requires, entry.origin.distribution)}`.\n"
        )
    guides = _GUIDES.get(entry.kind, {})
    if guide := guides.get(entry.name, guides.get("")):
        lines.append(f"More: [{guide}](../{guide}.md).\n")
    model = entry.load_options()
    if entry.kind == "trainer":
        return "\n".join(lines)
    lines.append("## Options\n")
    if model is None:
        return "\n".join([*lines, "None.\n"])
    rows = [(code(o.name), code(o.type), code(o.default), prose(o.description)) for o in describe_options(model)]
    return "\n".join([*lines, table(("option", "type", "default", "meaning"), rows)])


def _how(kind: str) -> tuple[str, str, str]:
    """The row of `_KINDS`; a kind that it does not have yet gets a page with less on it."""
    return _KINDS.get(kind, (f"{kind.capitalize()}s", "", ""))


def _about(entry: PluginEntry) -> str:
    """What the module of the factory says of itself; read, not imported."""
    if not isinstance(entry.factory, str):
        return ""
    spec = find_spec(entry.factory.partition(":")[0])
    if spec is None or spec.origin is None:
        return ""
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
