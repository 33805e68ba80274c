"""Predict structures of ZnP2S6 and list the best: the main job from Python, in about two minutes on two cores."""

from __future__ import annotations

import sys

from chggen_kit.progress import make_progress
from chggen_kit.workflow import generate


def main(out: str = "runs/example-generate", n: int = 8) -> None:
    """Run the pipeline with `n` starts; the run directory `out` goes on where it was when the script runs again."""
    with make_progress("auto", "generate ZnP2S6") as progress:
        result = generate("ZnP2S6", n=n, seed=0, out=out, progress=progress)
    for candidate in result.candidates[:5]:
        record = candidate.record
        print(f"{candidate.rank}  {candidate.id}  {record.spacegroup_symbol}  {candidate.energy_per_atom:.4f} eV/atom")
    for stage in ("unconditional", "inpainted"):
        rate = result.summary[stage]["symmetric_rates"]["among_started"]
        print(f"{stage}: {rate['count']} symmetric of {rate['of']} {rate['denominator']}")
    if result.candidates:
        result.candidates[0].structure.to(f"{out}/best.cif")


if __name__ == "__main__":
    main(*sys.argv[1:2])
