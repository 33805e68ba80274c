"""Periodic geometry: wrapping, minimum images, circular means, neighbours, and the wrapped normal distribution.

Cells are given by rows a, b, c in Å. Every function takes batches laid end to end, and works for cells of any shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chggen_kit.errors import InputError

_LOG_NEGLIGIBLE = 40.0
"""Terms below exp(-40) of the largest are left out of wrapped-normal sums (float64 resolves exp(-36))."""
_CROSSOVER = 3.0
"""The reciprocal sum takes over where sigma^2 G^2 / 2 of the shortest reciprocal vector exceeds this: the real-space
sum has then lost a factor of exp(3) to cancellation, and the reciprocal one needs few terms."""
_REDUCTION_ROUNDS = 50
"""Far more than any cell needs (each round shortens a vector); a bound for cells that are not numbers."""
_MAX_TERMS = 4_000_000
"""Pair-image combinations held in memory at a time."""


def wrap(frac: Tensor) -> Tensor:
    """Fold fractional coordinates into [0, 1); never returns exactly 1 (as `x % 1` does for tiny negative x)."""
    folded = frac - torch.floor(frac)
    return torch.where(folded >= 1, torch.zeros_like(folded), folded)


def to_cartesian(frac: Tensor, lattice: Tensor, crystal_index: Tensor) -> Tensor:
    """Row vectors in fractional units `[n_atoms, 3]` to Å, with one `lattice` `[n_crystals, 3, 3]` a crystal."""
    return torch.einsum("ai,aij->aj", frac, lattice[crystal_index])


def to_fractional(cart: Tensor, lattice: Tensor, crystal_index: Tensor) -> Tensor:
    """Row vectors in Å `[n_atoms, 3]` to fractional units."""
    return torch.einsum("ai,aij->aj", cart, torch.linalg.inv(lattice)[crystal_index])


def heights(lattice: Tensor) -> Tensor:
    """Distances between opposite faces of each cell in Å `[n_crystals, 3]`.

    Raises:
        InputError: when a cell has no volume.
    """
    volume = torch.linalg.det(lattice).abs()
    longest = lattice.norm(dim=-1).amax(dim=-1)
    if bool((volume <= 1e-9 * longest**3).any()) or not bool(torch.isfinite(lattice).all()):
        raise InputError("A cell is flat or not finite: its three vectors span no volume.")
    inverse_norms: Tensor = torch.linalg.inv(lattice).norm(dim=-2)
    return 1 / inverse_norms


def reduced_cell(lattice: Tensor) -> Tensor:
    """Shorter vectors of the same lattices `[n_crystals, 3, 3]`: none gains from adding multiples of a shorter one.

    Gauss's reduction, pair by pair. Not unique, and not the shortest possible, but free of long thin cells.
    """
    rows = list(lattice.unbind(dim=1))
    for _ in range(_REDUCTION_ROUNDS):
        changed = False
        for i, j in ((0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)):
            square = rows[j].square().sum(dim=-1)
            times = torch.round((rows[i] * rows[j]).sum(dim=-1) / square)
            times = torch.where(rows[i].square().sum(dim=-1) >= square, times, torch.zeros_like(times))
            # A half rounds either way without gain: only a real shortening counts, so that the rounds end.
            shorter = rows[i] - times[:, None] * rows[j]
            better = shorter.square().sum(dim=-1) < rows[i].square().sum(dim=-1) * (1 - 1e-12)
            rows[i] = torch.where(better[:, None], shorter, rows[i])
            changed = changed or bool(better.any())
        if not changed:
            break
    return torch.stack(rows, dim=1)


def circular_mean(frac: Tensor, weight: Tensor, crystal_index: Tensor, n_crystals: int) -> tuple[Tensor, Tensor]:
    """Circular mean of angles given in turns, for each crystal and axis.

    Args:
        frac: `[n_atoms, 3]`.
        weight: non-negative weights `[n_atoms]` (0 leaves an atom out).
        crystal_index: crystal of each atom `[n_atoms]`.
        n_crystals: number of crystals.

    Returns:
        Mean in (-0.5, 0.5] and mean resultant length in [0, 1], both `[n_crystals, 3]`; zeros where nothing has weight.
    """
    angle = 2 * math.pi * frac
    parts = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1) * weight[:, None, None]
    total = parts.new_zeros(n_crystals, 3, 2).index_add_(0, crystal_index, parts)
    count = weight.new_zeros(n_crystals).index_add_(0, crystal_index, weight)
    total = total / count.clamp(min=torch.finfo(weight.dtype).tiny)[:, None, None]
    return torch.atan2(total[..., 1], total[..., 0]) / (2 * math.pi), total.norm(dim=-1)


def _segment_products(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Index pairs of the product, segment by segment, of `left[s]` rows with `right[s]` rows of two packed tables."""
    segment_of_left = torch.repeat_interleave(torch.arange(left.shape[0], device=left.device), left)
    repeats = right[segment_of_left]
    left_index = torch.repeat_interleave(torch.arange(segment_of_left.shape[0], device=left.device), repeats)
    starts = repeats.cumsum(0) - repeats
    right_start = (right.cumsum(0) - right)[segment_of_left]
    within = torch.arange(left_index.shape[0], device=left.device) - starts[left_index]
    return left_index, right_start[left_index] + within


def _integer_boxes(bounds: Tensor) -> tuple[Tensor, Tensor]:
    """All integer triples with |s_k| <= bounds[c, k], packed crystal by crystal.

    Returns:
        Triples `[n_triples, 3]` and their number for each crystal `[n_crystals]`.
    """
    widths = 2 * bounds + 1
    counts = widths.prod(dim=1)
    crystal = torch.repeat_interleave(torch.arange(bounds.shape[0], device=bounds.device), counts)
    flat = torch.arange(crystal.shape[0], device=bounds.device) - (counts.cumsum(0) - counts)[crystal]
    width = widths[crystal]
    third = flat % width[:, 2]
    rest = torch.div(flat, width[:, 2], rounding_mode="floor")
    triples = torch.stack([torch.div(rest, width[:, 1], rounding_mode="floor"), rest % width[:, 1], third], dim=1)
    return triples - bounds[crystal], counts


@dataclass(frozen=True)
class Neighbours:
    """Directed edges between atoms and periodic images.

    Attributes:
        source: neighbour of each edge `[n_edges]`.
        target: centre of each edge `[n_edges]`; edges are sorted by target.
        shift: lattice translations of the source `[n_edges, 3]`, relative to the coordinates as given:
            `vector = (frac[source] + shift - frac[target]) @ lattice`.
        vector: from target to source in Å `[n_edges, 3]`.
    """

    source: Tensor
    target: Tensor
    shift: Tensor
    vector: Tensor


def neighbours(frac: Tensor, lattice: Tensor, num_atoms: Tensor, cutoff: float) -> Neighbours:
    """All pairs closer than `cutoff` Å, images of an atom itself included, for cells of any shape and size.

    An image S of a pair with displacement d (folded to |d_k| <= 1/2) lies at a distance of at least
    |d_k + S_k| h_k, with h_k the cell's height along axis k; so |S_k| <= cutoff / h_k + 1/2 misses nothing.

    Args:
        frac: fractional coordinates `[n_atoms, 3]`, wrapped or not.
        lattice: `[n_crystals, 3, 3]` in Å.
        num_atoms: `[n_crystals]`.
        cutoff: in Å.

    Raises:
        InputError: when the cutoff is not positive or a cell is flat.
    """
    if not cutoff > 0:
        raise InputError(f"The neighbour cutoff must be positive, not {cutoff}.")
    bounds = torch.floor(cutoff / heights(lattice) + 0.5).to(torch.int64)
    sizes = num_atoms**2 * (2 * bounds + 1).prod(dim=1)
    parts: list[Neighbours] = []
    offsets = torch.nn.functional.pad(num_atoms.cumsum(0), (1, 0)).tolist()
    for low, high in _chunks(sizes.tolist()):
        first, last = offsets[low], offsets[high]
        part = _dense_neighbours(frac[first:last], lattice[low:high], num_atoms[low:high], bounds[low:high], cutoff)
        parts.append(Neighbours(part.source + first, part.target + first, part.shift, part.vector))
    if len(parts) == 1:
        return parts[0]
    return Neighbours(
        torch.cat([p.source for p in parts]),
        torch.cat([p.target for p in parts]),
        torch.cat([p.shift for p in parts]),
        torch.cat([p.vector for p in parts]),
    )


def _chunks(sizes: list[int]) -> list[tuple[int, int]]:
    """Consecutive ranges of crystals whose sizes add up to at most `_MAX_TERMS` (at least one crystal each)."""
    ranges, low, total = [], 0, 0
    for index, size in enumerate(sizes):
        if index > low and total + size > _MAX_TERMS:
            ranges.append((low, index))
            low, total = index, 0
        total += size
    return [*ranges, (low, len(sizes))]


def _dense_neighbours(frac: Tensor, lattice: Tensor, num_atoms: Tensor, bounds: Tensor, cutoff: float) -> Neighbours:
    target, source = _segment_products(num_atoms, num_atoms)
    crystal_of_pair = torch.repeat_interleave(torch.arange(num_atoms.shape[0], device=frac.device), num_atoms**2)
    offset = frac[source] - frac[target]
    fold = torch.round(offset)
    pair_cart = torch.einsum("pi,pij->pj", offset - fold, lattice[crystal_of_pair])
    triples, counts = _integer_boxes(bounds)
    crystal_of_triple = torch.repeat_interleave(torch.arange(num_atoms.shape[0], device=frac.device), counts)
    triple_cart = torch.einsum("ti,tij->tj", triples.to(frac.dtype), lattice[crystal_of_triple])
    pair, triple = _segment_products(num_atoms**2, counts)
    vector = pair_cart[pair] + triple_cart[triple]
    itself = (source == target)[pair] & (triples == 0).all(dim=1)[triple]
    keep = ((vector.square().sum(dim=1) < cutoff**2) & ~itself).nonzero()[:, 0]
    pair, triple = pair[keep], triple[keep]
    return Neighbours(
        source=source[pair],
        target=target[pair],
        shift=triples[triple] - fold[pair].to(torch.int64),
        vector=vector[keep],
    )


def wrapped_normal_score(displacement: Tensor, lattice: Tensor, crystal_index: Tensor, sigma: Tensor) -> Tensor:
    """Score of an isotropic normal wrapped onto the torus of the cell; see `wrapped_normal`.

    Returns:
        The score in 1/Å `[n_atoms, 3]`, computed in float64 and returned in the dtype of `displacement`.
    """
    return wrapped_normal(displacement, lattice, crystal_index, sigma)[0].to(displacement.dtype)


def wrapped_normal(
    displacement: Tensor, lattice: Tensor, crystal_index: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor]:
    """Score and log density of an isotropic normal wrapped onto the torus of the cell.

    The density is p(v) = (2 pi sigma^2)^(-3/2) sum_S exp(-|v + S|^2 / 2 sigma^2) over lattice vectors S, and equals
    sum_G exp(-sigma^2 |G|^2 / 2) cos(G v) / V over reciprocal vectors G (Poisson summation). For each crystal the sum
    that keeps its digits is used: the real-space one (a softmax, finite at any distance) cancels when sigma is large
    against the cell, the reciprocal one when it is small.

    Args:
        displacement: v = x - x0 in Å `[n_atoms, 3]`, any image.
        lattice: `[n_crystals, 3, 3]` in Å.
        crystal_index: `[n_atoms]`.
        sigma: standard deviation in Å for each crystal `[n_crystals]`, positive.

    Returns:
        The score grad log p in 1/Å `[n_atoms, 3]` and log p (p in 1/Å^3) `[n_atoms]`, float64.
    """
    # The density depends on the lattice alone: short vectors keep both sums short and the crossover right.
    cell, width = reduced_cell(lattice.double()), sigma.double()
    frac = to_fractional(displacement.double(), cell, crystal_index)
    frac = frac - torch.round(frac)
    reciprocal = 2 * math.pi * torch.linalg.inv(cell).transpose(-1, -2)
    near = torch.cartesian_prod(*[torch.arange(-1.0, 2.0, dtype=torch.float64, device=cell.device)] * 3)
    smallest_g = (near[near.any(dim=1)] @ reciprocal).norm(dim=-1).amin(dim=-1)
    use_real = (width * smallest_g) ** 2 / 2 < _CROSSOVER
    score, log_density = torch.empty_like(frac), torch.empty_like(frac[:, 0])
    for real in (True, False):
        crystals = (use_real == real).nonzero()[:, 0]
        if crystals.numel() == 0:
            continue
        renumber = torch.full((cell.shape[0],), -1, device=cell.device)
        renumber[crystals] = torch.arange(crystals.numel(), device=cell.device)
        atoms = (use_real[crystal_index] == real).nonzero()[:, 0]
        index = renumber[crystal_index[atoms]]
        function = _real_space if real else _reciprocal_space
        basis = cell if real else reciprocal
        score[atoms], log_density[atoms] = function(
            frac[atoms], cell[crystals], basis[crystals], index, width[crystals]
        )
    return score, log_density


def _atom_terms(counts: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (atom, lattice vector of its crystal), atoms in any order of crystals."""
    repeats = counts[index]
    atom = torch.repeat_interleave(torch.arange(index.shape[0], device=index.device), repeats)
    start = (counts.cumsum(0) - counts)[index]
    within = torch.arange(atom.shape[0], device=index.device) - (repeats.cumsum(0) - repeats)[atom]
    return atom, start[atom] + within


def _vectors(basis: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    triples, counts = _integer_boxes(bounds)
    crystal = torch.repeat_interleave(torch.arange(basis.shape[0], device=basis.device), counts)
    return torch.einsum("ti,tij->tj", triples.to(basis.dtype), basis[crystal]), counts


def _real_space(frac: Tensor, cell: Tensor, basis: Tensor, index: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    vector = torch.einsum("ai,aij->aj", frac, cell[index])
    farthest = frac.new_zeros(cell.shape[0]).scatter_reduce_(0, index, vector.square().sum(dim=1), "amax")
    reach = torch.sqrt(farthest + 2 * _LOG_NEGLIGIBLE * sigma**2)
    bounds = torch.floor(reach[:, None] / heights(cell) + 0.5).to(torch.int64)
    images, counts = _vectors(basis, bounds)
    atom, image = _atom_terms(counts, index)
    moved = vector[atom] + images[image]
    exponent = -moved.square().sum(dim=1) / (2 * sigma[index[atom]] ** 2)
    peak = exponent.new_full((frac.shape[0],), -torch.inf).scatter_reduce_(0, atom, exponent, "amax")
    weight = torch.exp(exponent - peak[atom])
    norm = weight.new_zeros(frac.shape[0]).index_add_(0, atom, weight)
    mean = moved.new_zeros(frac.shape[0], 3).index_add_(0, atom, weight[:, None] * moved)
    variance = sigma[index] ** 2
    log_density = peak + torch.log(norm) - 1.5 * torch.log(2 * math.pi * variance)
    return -mean / norm[:, None] / variance[:, None], log_density


def _reciprocal_space(frac: Tensor, cell: Tensor, basis: Tensor, index: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    vector = torch.einsum("ai,aij->aj", frac, cell[index])
    # The G's needed lie below sqrt(2 * 40) / sigma, or are the shortest ones where even those are negligible.
    reach = math.sqrt(2 * _LOG_NEGLIGIBLE) / sigma
    bounds = torch.floor(reach[:, None] * cell.norm(dim=-1) / (2 * math.pi)).to(torch.int64).clamp(min=1)
    waves, counts = _vectors(basis, bounds)
    atom, wave = _atom_terms(counts, index)
    g = waves[wave]
    phase = (g * vector[atom]).sum(dim=1)
    damping = torch.exp(-g.square().sum(dim=1) * sigma[index[atom]] ** 2 / 2)
    density = damping.new_zeros(frac.shape[0]).index_add_(0, atom, damping * torch.cos(phase))
    slope = g.new_zeros(frac.shape[0], 3).index_add_(0, atom, (damping * torch.sin(phase))[:, None] * g)
    volume = torch.linalg.det(cell).abs()[index]
    return -slope / density[:, None], torch.log(density / volume)
