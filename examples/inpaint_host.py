"""Put fluorine back into the calcium framework of fluorite, and compare the drawn sites with the crystal's own."""

from __future__ import annotations

import sys

from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from chggen_kit.progress import make_progress
from chggen_kit.workflow import inpaint


def main(out: str = "runs/example-inpaint", n: int = 4) -> None:
    """Draw eight F into the conventional cell of the host, `n` times."""
    fluorite = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.46), ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    host = fluorite.copy()
    host.remove_species(["F"])
    with make_progress("auto", "inpaint CaF2") as progress:
        result = inpaint(host, {"F": 8}, n=n, seed=0, out=out, progress=progress)
    matcher = StructureMatcher()
    for candidate in result.candidates:
        # What was drawn holds the host bit for bit; the relaxed structure stands beside it.
        assert (candidate.generated.frac_coords[: len(host)] == host.frac_coords).all()  # noqa: S101  shows a promise
        same = "is fluorite" if matcher.fit(candidate.structure, fluorite) else "is another structure"
        print(f"{candidate.rank}  {candidate.id}  {candidate.energy_per_atom:.4f} eV/atom  {same}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
