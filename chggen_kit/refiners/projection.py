"""The host refiner without tolerances: the nearest symmetric structures."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pymatgen.core import Structure

from chggen_kit.interfaces.refiner import HostRefiner, RefinedHost
from chggen_kit.metrics.symmetry import SymmetryFailure, dataset
from chggen_kit.refiners.ladder import reduce_to_primitive, split_guests
from chggen_kit.symmetry.options import ProjectionOptions
from chggen_kit.symmetry.projection import TIGHT_ANGLE_DEG, TIGHT_SYMPREC_A, Projection, nearest_symmetric

__all__ = ["ProjectionOptions", "ProjectionRefiner", "build"]


def build(options: ProjectionOptions) -> ProjectionRefiner:
    """Refiner with `options`: the factory of the plug-in."""
    return ProjectionRefiner(options)


class ProjectionRefiner(HostRefiner):
    """Projects a host onto the nearest symmetric structures; see `nearest_symmetric`.

    The host is cut down to its primitive cell when the guests come out whole there, as by the ladder.
    """

    def __init__(self, options: ProjectionOptions | None = None) -> None:
        self.options = options or ProjectionOptions()

    def refine(self, structure: Structure, guests: Collection[str]) -> list[RefinedHost]:
        """Hosts in the order of `order_by`; see `HostRefiner.refine`.

        Raises:
            InputError: when a guest is not in the structure, nothing but guests is, the structure is disordered, its
                cell flat, or a value not finite.
        """
        host, guest_counts = split_guests(structure, guests)
        return [self._refined(found, guest_counts) for found in nearest_symmetric(host, self.options)]

    def refine_structure(self, structure: Structure) -> list[RefinedHost]:
        """The same for a whole structure, without guests."""
        return self.refine(structure, ())

    def _refined(self, found: Projection, guest_counts: Mapping[str, int]) -> RefinedHost:
        exact = dataset(found.structure, TIGHT_SYMPREC_A, TIGHT_ANGLE_DEG)
        # moyopy may have named a structure that spglib gives up: it stays in its own cell.
        primitive, counts = (
            (None, dict(guest_counts))
            if isinstance(exact, SymmetryFailure)
            else reduce_to_primitive(found.structure, guest_counts, exact)
        )
        return RefinedHost(
            host=found.structure if primitive is None else primitive,
            guest_counts=counts,
            spacegroup_number=found.spacegroup_number,
            spacegroup_symbol=found.spacegroup_symbol,
            symprec_A=None,
            angle_tolerance_deg=None,
            max_displacement_A=found.max_displacement_A,
            rms_displacement_A=found.rms_displacement_A,
            cell="own" if primitive is None else "primitive",
            library=found.library,
        )
