"""Put a trained DiffCSP checkpoint into the package, with its model card.

python scripts/ship_diffcsp.py RUN_DIRECTORY MEASURED.json --minutes 45 [--sampling steps=250] [--start-below 980]

RUN_DIRECTORY is what `chggen train diffcsp --out` wrote. MEASURED.json is a JSON object with `metrics` (name to number)
and `metrics_command`, the command that gave them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import yaml

from chggen_diffcsp.checkpoint import load_checkpoint, save_checkpoint
from chggen_diffcsp.model import SHIPPED
from chggen_diffcsp.run_layout import HPARAMS_FILE
from chggen_kit.errors import InputError
from chggen_kit.training.card import selection_sentence, source_sentence

LICENCE = "CC BY 4.0 (trained on Materials Project data)"
_DEFAULTS = {"batch_crystals": 256, "batch_edges": 6400, "learning_rate": 1e-3, "decay": 1.0, "layer_norm": True}
"""Options that the command need not name."""


def train_command(options: dict[str, Any], request: dict[str, Any]) -> str:
    """The command that trains the same network on the same files."""
    files = " ".join(f"--data {Path(path).name}" for path, _ in request["data"])
    names = ("kind", "hidden", "layers", "frequencies", "time_dim", "steps", "seed")
    words = [f"--{name.replace('_', '-')} {options[name]}" for name in names]
    for name, default in _DEFAULTS.items():
        if options[name] != default:
            words.append("--no-layer-norm" if name == "layer_norm" else f"--{name.replace('_', '-')} {options[name]}")
    return f"chggen train diffcsp {files} --out RUN --max-atoms {request['max_atoms']} {' '.join(words)}"


def last_validation(metrics_file: Path) -> dict[str, float]:
    """The last validation losses of a run.

    Raises:
        InputError: when the run has none.
    """
    rows = [json.loads(line) for line in metrics_file.read_text().splitlines()]
    found = [row for row in rows if "val_loss" in row]
    if not found:
        raise InputError(f"{metrics_file} holds no validation: let the run reach --validate-every steps.")
    return {name: value for name, value in found[-1].items() if name.endswith("_loss")} | {"step": found[-1]["step"]}


def limit_sentences(kind: str, max_atoms: int) -> list[str]:
    """What the model cannot do."""
    given = "number of atoms" if kind == "w_type" else "composition and number of atoms"
    return [
        f"Generates crystals of a given {given} (at most {max_atoms} atoms in training).",
        "Its answers depend on the cell being Niggli-reduced, which the backend sees to.",
        "Trained on bulk, ordered, near-stable crystals at their relaxed density, and on nothing else.",
        "Much smaller than the published networks and trained for a tiny part of their time: expect worse structures.",
    ]


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("measured", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--minutes", type=int, required=True, help="Training time, one CPU core.")
@click.option("--precision", default="32-true", show_default=True, help="Precision of the training, Lightning's name.")
@click.option("--sampling", multiple=True, metavar="NAME=NUMBER", help="Sampler options that suit the checkpoint.")
@click.option("--start-below", type=int, default=None, help="Noisiest time to sample from [T].")
@click.option("--source", default="", help="Where the structures come from, instead of what the rows say.")
@click.option("--status", default="", help="A remark for the card.")
@click.option("--target", type=click.Path(path_type=Path), default=SHIPPED, help="Instead of the package's own file.")
def main(
    run: Path,
    measured: Path,
    minutes: int,
    precision: str,
    sampling: tuple[str, ...],
    start_below: int | None,
    source: str,
    status: str,
    target: Path,
) -> None:
    """Write weights, card.json and card.md."""
    checkpoint = load_checkpoint(run)
    config = yaml.safe_load((run / HPARAMS_FILE).read_text())
    ours, options = config["chggen"], config["chggen"]["options"]
    selection = json.loads((run / "data.json").read_text())
    result = json.loads(measured.read_text())
    steps = last_validation(run / "metrics.jsonl")
    facts = {
        "licence": LICENCE,
        "elements": ours["elements"],
        "structures": ours["structures"],
        "options": options,
        "step": steps["step"],
        "sampling_defaults": {name: json.loads(value) for name, _, value in (s.partition("=") for s in sampling)},
        "start_below": start_below,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(replace(checkpoint, facts=facts), target)
    shipped = load_checkpoint(target)
    card: dict[str, Any] = {
        "name": target.stem,
        "sha256": shipped.sha256,
        "parameters": sum(p.numel() for p in shipped.network.parameters()),
        "licence": LICENCE,
        "training_set": {
            "source": source_sentence(selection, source),
            "structures": selection["used"],
            "selection": selection_sentence(selection),
            "left_out": selection["left_out"],
            "elements": len(ours["elements"]),
        },
        "training": {
            "command": train_command(options, selection["request"])
            + ("" if precision == "32-true" else f" --precision {precision}"),
            "seed": options["seed"],
            "steps": steps["step"],
            "core_minutes": minutes,
        },
        "settings": shipped.settings.to_dict(),
        "sampling_defaults": facts["sampling_defaults"],
        "start_below": start_below,
        "validation": steps,
        "metrics": result["metrics"],
        "metrics_command": result["metrics_command"],
        "limits": limit_sentences(options["kind"], ours["max_atoms"]),
        "status": status,
    }
    target.with_suffix(".json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    target.with_suffix(".md").write_text(markdown(card))
    click.echo(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB, step {steps['step']}, {card['metrics']}")


def markdown(card: dict[str, Any]) -> str:
    """The card for people to read."""
    training, source, network = card["training"], card["training_set"], card["settings"]["network"]
    losses = ", ".join(f"{name} {value:.4f}" for name, value in card["validation"].items() if name != "step")
    lines = [
        f"# {card['name']}",
        "",
        (
            f"Score model of the DiffCSP family (arXiv:2309.04475): CSPNet with {network['num_layers']} layers of "
            f"{network['hidden_dim']} features and {network['num_freqs']} frequencies ({card['parameters']:,} "
            "parameters, float32), written and trained here; neither code nor weights are the published ones."
        ),
        "",
        *([f"Status: {card['status']}", ""] if card["status"] else []),
        f"- Training set: {source['structures']:,} {source['source']}.",
        f"- Selection: {source['selection']}.",
        f"- Elements: {source['elements']}.",
        f"- Training: `{training['command']}`; these are the averaged weights of step {training['steps']:,}, after",
        f"  about {training['core_minutes']} minutes on one CPU core.",
        f"- Losses on validation rows, formula-disjoint from training: {losses}.",
        f"- Licence of the weights: {card['licence']}. Cite: A. Jain et al., APL Materials 1, 011002 (2013).",
        f"- SHA-256: `{card['sha256']}`",
        "",
        f"Measured by `{card['metrics_command']}`:",
        "",
        "| quantity | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in card["metrics"].items()),
        "",
        "Limits:",
        "",
        *(f"- {limit}" for limit in card["limits"]),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
