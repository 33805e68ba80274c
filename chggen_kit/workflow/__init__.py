"""The pipeline: composition to candidates (`generate`), host to filled structures (`inpaint`).

The names are imported when they are used: the command line reads formulas without loading torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chggen_kit.workflow.api import generate, inpaint
    from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, PluginChoice
    from chggen_kit.workflow.result import Candidate, RunResult

__all__ = ["Candidate", "GenerateConfig", "InpaintConfig", "PluginChoice", "RunResult", "generate", "inpaint"]

_HOMES = {
    "Candidate": "result",
    "GenerateConfig": "config",
    "InpaintConfig": "config",
    "PluginChoice": "config",
    "RunResult": "result",
    "generate": "api",
    "inpaint": "api",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
