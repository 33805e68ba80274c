r"""Ask several potentials, each in an environment of its own if need be, about the same crystals in one run.

python examples/second_opinion.py -p chgnet -p sevennet@/envs/sevennet \
    -p mace@/envs/mace model=small.model trust_pickle=true energy_frame=unknown
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from chggen_kit.cli._shared import parse_assignments
from chggen_kit.plugins import get_registry
from chggen_kit.testing.crystals import disturbed, textbook_crystals

NAMES = ("NaCl", "MgO", "CaF2", "ZrO2", "ZnS", "Si", "SrTiO3", "CsCl", "Cu", "Al")


def main(arguments: Sequence[str]) -> None:
    """Print the energies in eV/atom and the largest forces of ten rattled textbook crystals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-p", "--potential", action="append", nargs="+", required=True, metavar=("NAME[@WHERE]", "OPTION=VALUE")
    )
    batch = disturbed(textbook_crystals(), rattle_A=0.05, strain=0.01, seed=0)
    registry = get_registry()
    print(f"{'':<24}{'':<18}" + "".join(f"{name:>16}" for name in NAMES))
    for name, *options in parser.parse_args(arguments).potential:
        potential = registry.create_potential(name, parse_assignments(options))
        info = potential.info
        covered = [c for c in range(batch.n_crystals) if set(batch.select([c]).species.tolist()) <= info.elements]
        part = batch.select(covered)
        result = potential.evaluate(part)
        cells = ["not covered"] * batch.n_crystals
        for row, crystal in enumerate(covered):
            force = result.forces[part.crystal_index == row].abs().max()
            cells[crystal] = f"{result.energies[row] / part.num_atoms[row]:.3f} ({force:.2f})"
        print(f"{info.name:<24}{info.energy_frame:<18}" + "".join(f"{cell:>16}" for cell in cells))
    print("Energies in eV/atom (largest force in eV/Å). Compare energies within one frame only.")


if __name__ == "__main__":
    main(sys.argv[1:])
