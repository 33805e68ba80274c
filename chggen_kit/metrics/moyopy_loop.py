"""Script run by `moyopy_process` in a process of its own: names space groups with moyopy, a JSON line in, one out.

It imports nothing of the kit, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any


def name(task: dict[str, Any]) -> dict[str, Any]:
    """Number and symbol of the group of one crystal, or what moyopy said instead."""
    import moyopy

    cell = moyopy.Cell(task["lattice"], task["positions"], task["numbers"])
    angle_rad = math.radians(task["angle_tolerance_deg"])
    try:
        found = moyopy.MoyoDataset(cell, symprec=task["symprec_A"], angle_tolerance=angle_rad)
    except ValueError as error:  # how moyopy reports that it found nothing
        return {"failure": str(error)}
    symbol = moyopy.SpaceGroupType(found.number).hm_short.replace(" ", "")
    return {"number": found.number, "symbol": symbol}


def main() -> None:
    """Answer until the standard input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(name(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
