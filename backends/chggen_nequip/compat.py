"""The parts of e3nn that the network uses, imported so that e3nn 0.4.4 and 0.5 or newer both work."""

from __future__ import annotations

import torch

# e3nn 0.4.4 unpickles its own table of Wigner constants, slices included, with torch.load, whose default became
# weights_only in torch 2.6; naming `slice` as harmless is all that it takes.
if hasattr(torch.serialization, "add_safe_globals"):
    torch.serialization.add_safe_globals([slice])

from e3nn import o3
from e3nn.nn import Gate
from torch import Tensor, nn

__all__ = ["Gate", "full_precision", "o3"]


def full_precision(module: nn.Module, *inputs: Tensor) -> Tensor:
    """`module(*inputs)` in at least float32, whatever autocast says: e3nn's generated code fails under it."""
    wide = (x.float() if x.dtype in {torch.bfloat16, torch.float16} else x for x in inputs)
    with torch.autocast(inputs[0].device.type, enabled=False):
        result: Tensor = module(*wide)
    return result
