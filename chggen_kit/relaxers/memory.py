"""Lack of memory: telling it from other failures, and letting go of what torch holds back."""

from __future__ import annotations

import torch

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "resource_exhausted")
"""What the allocators say: CUDA's; torch's on the CPU (Linux, then others); cuBLAS's; that of XLA."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def release_memory() -> None:
    """Give back what torch's GPU allocator keeps for later: a smaller batch needs blocks of other sizes."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
