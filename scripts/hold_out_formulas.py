"""Write the list of formulas that training leaves out: python scripts/hold_out_formulas.py structures.jsonl.gz OUT.

They are the reduced formulas of all rows marked `val` or `test` (key `suggested_split`), of rows with a tag
`diffcsp15:...`, and of the systems on which the host-guided method was published.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from chggen_kit.io.readers import parse_formula, read_structures

SHOWCASE = ("Li5Si2", "Li2Si", "Li4Si", "Li13Si4", "ZnP2S6", "Zn2P2S7")


def main(source: Path, target: Path) -> None:
    """Collect the formulas of `source` and write them, sorted, gzip'd without a time stamp, to `target`."""
    formulas = {parse_formula(formula) for formula in SHOWCASE}
    for record in read_structures(source):
        kept_apart = record.metadata.get("suggested_split") in {"val", "test"}
        if kept_apart or any(tag.startswith("diffcsp15:") for tag in record.metadata.get("tags", ())):
            formulas.add(record.formula)
    target.write_bytes(gzip.compress("".join(f"{f}\n" for f in sorted(formulas)).encode(), mtime=0))
    print(f"{len(formulas)} formulas in {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
