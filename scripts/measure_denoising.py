"""Relative denoising error of a nequip checkpoint on rows kept apart from its training.

python scripts/measure_denoising.py CHECKPOINT DATA [--split test] [--rows 512] [--max-atoms 20]

Prints one JSON object: for each noise level in Å, sum |sigma s - sigma s_exact|^2 / sum |sigma s_exact|^2 over all
atoms of the rows, with a fixed noise seed; 1 is what predicting zero gives.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from chggen_kit.training.dataset import CrystalSet, Selection, sample_records, select_structures
from chggen_nequip.checkpoint import load_checkpoint
from chggen_nequip.objective import relative_errors


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--split", default="test", show_default=True, help="Value of the rows' `suggested_split`.")
@click.option("--rows", type=int, default=512, show_default=True, help="How many rows, drawn with a fixed seed.")
@click.option("--max-atoms", type=int, default=20, show_default=True, help="Largest structure.")
def main(checkpoint: Path, data: Path, split: str, rows: int, max_atoms: int) -> None:
    """Measure and print."""
    network = load_checkpoint(checkpoint).network
    candidates, _ = select_structures([data], Selection(split, max_atoms, named_split_only=True))
    batch = CrystalSet.from_records(sample_records(candidates, rows)).batch
    errors = relative_errors(network, batch, cutoff=network.architecture.cutoff)
    click.echo(
        json.dumps(
            {
                "split": split,
                "rows": batch.n_crystals,
                "atoms": batch.n_atoms,
                "relative_errors": {str(sigma): round(error, 4) for sigma, error in errors.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
