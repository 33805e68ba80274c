"""Put a trained nequip checkpoint into the package, with its model card.

python scripts/ship_checkpoint.py RUN_DIRECTORY denoising.json --minutes 160 [--earlier "chggen train ..."]

RUN_DIRECTORY is what `chggen train nequip --out` wrote, denoising.json what
`chggen evaluate nequip --checkpoint RUN_DIRECTORY/checkpoint.safetensors --only denoising` did.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from chggen_kit.training.card import selection_sentence, source_sentence
from chggen_nequip.checkpoint import load_checkpoint, save_checkpoint
from chggen_nequip.model import SHIPPED
from chggen_nequip.training import TrainingOptions

LICENCE = "CC BY 4.0 (trained on Materials Project data)"
LIMITS = (
    "Generates coordinates in a given cell with given species; it proposes neither cells nor compositions.",
    "It has no notion of charge or of long-range order.",
)
SHAPE = ("hidden", "layers", "cutoff", "product_channels")
"""Parts of the architecture that the training command has options for."""
METRICS_COMMAND = "chggen evaluate nequip --data structures.jsonl.gz --only denoising --out DIR"
_BLIND = 0.85
"""Relative error above which a prediction is hardly better than zero."""


def metrics_of(report: dict[str, Any]) -> dict[str, Any]:
    """Numbers for the card from the report of `chggen evaluate --only denoising`."""
    errors = report["relative_errors"]["frac_coords"]["all"]
    return {
        "split": report["facts"]["split"],
        "rows": report["crystals"],
        "atoms": report["atoms"],
        "relative_errors": {level: error["value"] for level, error in errors.items()},
        "intervals_95": {level: [error["low"], error["high"]] for level, error in errors.items()},
    }


def train_command(options: dict[str, Any], request: dict[str, Any], *, after_others: bool) -> str:
    """The command that trains the same network on the same files."""
    default = TrainingOptions().to_dict()
    words = [f"--data {Path(path).name}" for path, _ in request["data"]]
    words += ["--out RUN"] + (["--init-from EARLIER"] if after_others else [])
    words += [f"--max-atoms {request['max_atoms']} --seed {options['seed']} --steps {options['steps']}"]
    shape, usual = options["architecture"], default["architecture"]
    words += [f"--{_word(name)} {_text(shape[name])}" for name in SHAPE if shape.get(name, usual[name]) != usual[name]]
    rest = default.keys() - {"architecture", "seed", "steps", "warm_up", "clip"}
    words += [
        f"--{_word(name)} {options[name]}" for name in sorted(rest) if options.get(name, default[name]) != default[name]
    ]
    return f"chggen train nequip {' '.join(words)}"


def _word(name: str) -> str:
    return name.replace("_", "-")


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def limit_sentences(architecture: dict[str, Any], max_atoms: int, errors: dict[str, float]) -> list[str]:
    """What the network cannot do, from its architecture, its training set and what was measured."""
    limits = [
        *LIMITS,
        f"Sees {architecture['cutoff']:g} Å around each atom, passed on {architecture['layers'] + 1} times.",
        f"Trained on crystals of at most {max_atoms} atoms.",
    ]
    blind = [sigma for sigma, error in errors.items() if error > _BLIND]
    if blind:
        limits.append(
            f"At {' and '.join(blind)} Å of noise its relative error is above {_BLIND}; predicting zero has 1."
        )
    return limits


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("measured", type=click.Path(exists=True, path_type=Path))
@click.option("--minutes", type=int, required=True, help="Training time, one CPU core.")
@click.option("--earlier", multiple=True, help="Command of an earlier run that this one began from; in order.")
@click.option("--source", default="", help="Where the structures come from, instead of what the rows say.")
@click.option("--status", default="", help="A remark for the card.")
def main(run: Path, measured: Path, minutes: int, earlier: tuple[str, ...], source: str, status: str) -> None:
    """Write weights, card.json and card.md into the package."""
    checkpoint = load_checkpoint(run / "checkpoint.safetensors")
    selection = json.loads((run / "data.json").read_text())
    request, options = selection["request"], dict(checkpoint.facts["options"])
    metrics = metrics_of(json.loads(measured.read_text()))
    steps = int(checkpoint.facts["step"])
    facts = {"licence": LICENCE, "options": options, "step": steps, "crystals": checkpoint.facts["crystals"]}
    save_checkpoint(replace(checkpoint, facts=facts), SHIPPED)
    shipped = load_checkpoint(SHIPPED)
    commands = [*earlier, train_command(options, request, after_others=bool(earlier))]
    card: dict[str, Any] = {
        "name": SHIPPED.stem,
        "sha256": shipped.sha256,
        "parameters": sum(p.numel() for p in shipped.network.parameters()),
        "licence": LICENCE,
        "training_set": {
            "source": source_sentence(selection, source),
            "structures": selection["used"],
            "selection": selection_sentence(selection),
            "left_out": selection["left_out"],
            "elements": len(shipped.elements),
        },
        "training": {"commands": commands, "seed": options["seed"], "steps": steps, "core_minutes": minutes},
        "architecture": shipped.network.architecture.to_dict(),
        "noise_range_A": [shipped.sigma_min, shipped.sigma_max],
        "metrics": metrics,
        "metrics_command": METRICS_COMMAND,
        "limits": limit_sentences(
            shipped.network.architecture.to_dict(), shipped.max_atoms, metrics["relative_errors"]
        ),
        "status": status,
    }
    SHIPPED.with_suffix(".json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    SHIPPED.with_suffix(".md").write_text(_markdown(card))
    click.echo(f"{SHIPPED.name}: {SHIPPED.stat().st_size / 1e6:.1f} MB, step {steps}, {card['metrics']}")


def _markdown(card: dict[str, Any]) -> str:
    """The card for people to read."""
    errors, intervals = card["metrics"]["relative_errors"], card["metrics"]["intervals_95"]
    training, source = card["training"], card["training_set"]
    lines = [
        f"# {card['name']}",
        "",
        (
            f"Score model of crystal coordinates: an O(3)-equivariant message-passing network ({card['parameters']:,} "
            "parameters, float32), trained by denoising on the torus of the cell."
        ),
        "",
        *([f"Status: {card['status']}", ""] if card["status"] else []),
        f"- Training set: {source['structures']:,} {source['source']}.",
        f"- Selection: {source['selection']}.",
        f"- Elements: {source['elements']}. Noise: {card['noise_range_A'][0]} to {card['noise_range_A'][1]} Å.",
        "- Training, each run from the weights of the one before it:",
        *(f"  - `{command}`" for command in training["commands"]),
        f"- These are the averaged weights of step {training['steps']:,} of the last run, after about",
        f"  {training['core_minutes']} minutes on one CPU core in all.",
        f"- Licence of the weights: {card['licence']}. Cite: A. Jain et al., APL Materials 1, 011002 (2013).",
        f"- SHA-256: `{card['sha256']}`",
        "",
        f"Relative denoising error on {card['metrics']['rows']} rows ({card['metrics']['atoms']:,} atoms) of the",
        f"{card['metrics']['split']} split, formula-disjoint from training (1 = predicting zero), by",
        f"`{card['metrics_command']}`:",
        "",
        "| noise in Å | " + " | ".join(errors) + " |",
        "| --- |" + " --- |" * len(errors),
        "| error | " + " | ".join(f"{e:.3f}" for e in errors.values()) + " |",
        "| 95 % interval | " + " | ".join(f"{low:.3f} to {high:.3f}" for low, high in intervals.values()) + " |",
        "",
        "Limits:",
        "",
        *(f"- {limit}" for limit in card["limits"]),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
