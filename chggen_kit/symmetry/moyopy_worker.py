"""Script run by `naming` in a process of its own: names one space group with moyopy, from and to JSON.

It imports nothing of the kit, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import json
import math
import sys


def main() -> None:
    """Name the group of the crystal on the standard input."""
    import moyopy

    task = json.load(sys.stdin)
    cell = moyopy.Cell(task["lattice"], task["positions"], task["numbers"])
    found = moyopy.MoyoDataset(
        cell, symprec=task["symprec_A"], angle_tolerance=math.radians(task["angle_tolerance_deg"])
    )
    symbol = moyopy.SpaceGroupType(found.number).hm_short.replace(" ", "")
    json.dump({"number": found.number, "symbol": symbol}, sys.stdout)


if __name__ == "__main__":
    main()
