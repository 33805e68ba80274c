"""The few functions of `torch_scatter` and `torch_sparse` that the package `mattergen` calls, in plain PyTorch.

Both libraries need a compiler and an hour; what MatterGen uses of them are sums, means, minima and maxima over
segments, and the selection of rows of a sparse matrix. Names and arguments are those of the originals.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

_REDUCTIONS = {"sum": "sum", "add": "sum", "mean": "mean", "min": "amin", "max": "amax", "mul": "prod"}


def _segments(src: Tensor, index: Tensor, dim: int, size: int | None, reduce: str, out: Tensor | None = None) -> Tensor:
    """Reduce the entries of `src` along `dim` into the slots that `index` `[src.shape[dim]]` names."""
    dim = dim % src.dim()
    if index.dim() != 1:
        raise NotImplementedError("Only a one-dimensional index is needed, and supported.")
    if size is None:
        size = out.shape[dim] if out is not None else (int(index.max()) + 1 if index.numel() else 0)
    shape = list(src.shape)
    shape[dim] = size
    begin = src.new_zeros(shape) if out is None else out
    if _REDUCTIONS[reduce] == "sum":
        return begin.index_add(dim, index, src)
    viewed = index.view([-1 if axis == dim else 1 for axis in range(src.dim())]).expand_as(src)
    return begin.scatter_reduce(dim, viewed, src, _REDUCTIONS[reduce], include_self=out is not None)


def scatter(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> Tensor:
    """Reduction of `src` by `index` along `dim`."""
    return _segments(src, index, dim, dim_size, reduce, out)


def scatter_add(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """Sum of `src` by `index` along `dim`."""
    return _segments(src, index, dim, dim_size, "sum", out)


def segment_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None, reduce: str = "sum"
) -> Tensor:
    """Reduction by a sorted `index` along the index's last dimension."""
    return _segments(src, index, index.dim() - 1, dim_size, reduce, out)


def segment_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None, reduce: str = "sum") -> Tensor:
    """Reduction of the ranges between neighbouring entries of `indptr` `[n_segments + 1]`."""
    count = indptr.numel() - 1
    index = torch.repeat_interleave(torch.arange(count, device=src.device), indptr.diff())
    return _segments(src[int(indptr[0]) : int(indptr[-1])], index, 0, count, reduce, out)


class _Storage:
    """Rows and values of the entries of a sparse matrix."""

    def __init__(self, row: Tensor, value: Tensor) -> None:
        self._row, self._value = row, value

    def row(self) -> Tensor:
        """Row of each entry."""
        return self._row

    def value(self) -> Tensor:
        """Value of each entry."""
        return self._value


class SparseTensor:
    """A sparse matrix, of which only `matrix[rows].storage` is ever asked.

    Args:
        row: row of each entry.
        col: column of each entry.
        value: value of each entry.
        sparse_sizes: rows and columns.
    """

    def __init__(self, row: Tensor, col: Tensor, value: Tensor, sparse_sizes: tuple[int, int]) -> None:
        n_rows, n_columns = int(sparse_sizes[0]), int(sparse_sizes[1])
        order = torch.argsort(row * n_columns + col, stable=True)
        self.storage = _Storage(row[order], value[order])
        self._counts = torch.bincount(row, minlength=n_rows)
        self._starts = self._counts.cumsum(0) - self._counts

    def __getitem__(self, rows: Tensor) -> SparseTensor:
        counts = self._counts[rows]
        new_row = torch.repeat_interleave(torch.arange(rows.numel(), device=rows.device), counts)
        within = torch.arange(new_row.numel(), device=rows.device) - (counts.cumsum(0) - counts)[new_row]
        chosen = SparseTensor.__new__(SparseTensor)
        chosen.storage = _Storage(new_row, self.storage.value()[self._starts[rows][new_row] + within])
        return chosen

    def to(self, device: torch.device) -> SparseTensor:
        """The same matrix on `device`."""
        moved = SparseTensor.__new__(SparseTensor)
        moved.storage = _Storage(self.storage.row().to(device), self.storage.value().to(device))
        return moved


def make_modules() -> dict[str, ModuleType]:
    """Modules to be found under the names of the libraries that are stood in for."""
    scatter_module = ModuleType("torch_scatter")
    for function in (scatter, scatter_add, segment_coo, segment_csr):
        setattr(scatter_module, function.__name__, function)
    sparse_module = ModuleType("torch_sparse")
    sparse_module.SparseTensor = SparseTensor  # type: ignore[attr-defined]  # a module made here
    # An annotation of one dataclass is all that MatterGen needs of emmet, which brings fifteen packages.
    emmet, core, material = ModuleType("emmet"), ModuleType("emmet.core"), ModuleType("emmet.core.material")
    material.PropertyOrigin = object  # type: ignore[attr-defined]  # as above
    return {
        "torch_scatter": scatter_module,
        "torch_sparse": sparse_module,
        "emmet": emmet,
        "emmet.core": core,
        "emmet.core.material": material,
    }
