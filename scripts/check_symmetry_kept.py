"""Checks, for any potential, that relaxations with symmetry operations keep the space groups of 50 crystals.

    python scripts/check_symmetry_kept.py --potential chgnet [--option weights=r2scan] [--count 50] [--fmax 0.1]

The crystals are MgO in other structures, one for each of 50 space groups, far from any minimum. The exit status is 1
when a law does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from chggen_kit.plugins import get_registry
from chggen_kit.testing.symmetric import check_symmetry_kept, symmetric_crystals


def plain(text: str) -> Any:  # noqa: ANN401 - an option can be anything
    """The value of an option: JSON where it is that, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> int:
    """Run the check and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--potential", required=True, help="name of a potential, with @ENVIRONMENT where it needs one")
    parser.add_argument("--option", action="append", default=[], metavar="OPTION=VALUE", help="of the potential")
    parser.add_argument("--relaxer", default="fire")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--fmax", type=float, default=0.1)
    parser.add_argument("--max-steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    options = {name: plain(value) for name, _, value in (text.partition("=") for text in arguments.option)}
    registry = get_registry()
    potential = registry.create_potential(arguments.potential, options)
    relaxer = registry.create_relaxer(arguments.relaxer, {}, potential=potential)
    crystals = symmetric_crystals(arguments.count, seed=arguments.seed)
    start = time.process_time()
    report = check_symmetry_kept(relaxer, crystals, fmax=arguments.fmax, max_steps=arguments.max_steps)
    print(f"{potential.info.name} with {arguments.relaxer}: {len(crystals)} crystals")
    print(report.table())
    print(f"{time.process_time() - start:.0f} s of this process")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
