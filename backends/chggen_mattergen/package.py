"""Imports the package `mattergen` beside current libraries, and leaves no trace of how.

MatterGen 1.0.3 was written for torch 2.2, numpy 1 and compiled extensions, and its wheel lacks its data files. What it
misses is provided while it is imported; what its import would leave behind (a print, an environment variable, an
`eval` resolver for OmegaConf, warning filters, stand-in modules) is taken back.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import math
import os
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from chggen_kit.errors import PluginError
from chggen_mattergen.stand_ins import make_modules

KNOWN_VERSIONS = ("1.0.3",)
"""Versions whose import was tried; others are refused, because what is patched may have changed."""
INSTALL_LINES = "pip install 'chggen-kit[mattergen]' && pip install --no-deps mattergen==1.0.3"
_MODULES = (
    "mattergen.common.data.chemgraph",
    "mattergen.common.data.collate",
    "mattergen.common.data.num_atoms_distribution",
    "mattergen.common.diffusion.corruption",
    "mattergen.common.gemnet.gemnet",
    "mattergen.common.gemnet.gemnet_ctrl",
    "mattergen.common.gemnet.layers.atom_update_block",
    "mattergen.common.gemnet.layers.base_layers",
    "mattergen.common.gemnet.layers.basis_utils",
    "mattergen.common.gemnet.layers.efficient",
    "mattergen.common.gemnet.layers.embedding_block",
    "mattergen.common.gemnet.layers.scaling",
    "mattergen.common.loss",
    "mattergen.common.utils.data_utils",
    "mattergen.common.utils.globals",
    "mattergen.denoiser",
    "mattergen.adapter",
    "mattergen.property_embeddings",
    "mattergen.diffusion.corruption.d3pm_corruption",
    "mattergen.diffusion.corruption.multi_corruption",
    "mattergen.diffusion.d3pm.d3pm",
    "mattergen.diffusion.diffusion_module",
    "mattergen.diffusion.model_utils",
)


def check_version() -> str:
    """Version of the installed package.

    Raises:
        PluginError: when it is not installed, or a version that this plug-in does not know.
    """
    try:
        version = importlib.metadata.version("mattergen")
    except importlib.metadata.PackageNotFoundError as error:
        raise PluginError(
            f"The backend mattergen needs the package mattergen, which is not installed. Install it with: "
            f"{INSTALL_LINES} (without --no-deps its pins cannot be met)."
        ) from error
    if version not in KNOWN_VERSIONS:
        raise PluginError(
            f"The installed mattergen {version} is not a version that the backend mattergen knows "
            f"({', '.join(KNOWN_VERSIONS)}); it would have to be patched blindly. Install a known one with: "
            f"pip install --no-deps mattergen=={KNOWN_VERSIONS[-1]}"
        )
    return version


@cache
def load_package() -> dict[str, ModuleType]:
    """The modules of `mattergen` that the plug-in works with, by their full names.

    Raises:
        PluginError: when the package is missing, of an unknown version, or cannot be imported.
    """
    check_version()
    try:
        with imports_allowed():
            modules = {name: importlib.import_module(name) for name in _MODULES}
    except ImportError as error:
        raise PluginError(
            f"The package mattergen cannot be imported: {error}. A package that it needs is probably missing; install "
            f"everything with: {INSTALL_LINES}"
        ) from error
    # Numpy 2 has no `np.math`; this is the one module that asks for it.
    basis: Any = modules["mattergen.common.gemnet.layers.basis_utils"]
    basis.np = _NumpyWithMath("numpy")
    return modules


class _NumpyWithMath(ModuleType):
    """Numpy with the attribute `math` that it had before version 2."""

    math = math

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever numpy has
        return getattr(np, name)


@contextlib.contextmanager
def imports_allowed() -> Iterator[None]:
    """While it is open, modules of `mattergen` can be imported; afterwards only they are left."""
    # PyTorch Geometric looks for torch_scatter and torch_sparse when it is imported, and must not find the stand-ins.
    importlib.import_module("torch_geometric")
    importlib.import_module("torch_geometric.data")
    names = make_modules()
    before = {name: sys.modules.get(name) for name in names}
    project_root = os.environ.get("PROJECT_ROOT")
    with _resolvers_kept(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        sys.modules.update(names)
        try:
            yield
        finally:
            for name, module in before.items():
                if module is None:
                    sys.modules.pop(name, None)
                else:
                    sys.modules[name] = module
            if project_root is None:
                os.environ.pop("PROJECT_ROOT", None)
            else:
                os.environ["PROJECT_ROOT"] = project_root


@contextlib.contextmanager
def _resolvers_kept() -> Iterator[None]:
    """Give OmegaConf back the resolvers that it had: MatterGen registers one that evaluates any Python text."""
    from omegaconf import OmegaConf
    from omegaconf.basecontainer import BaseContainer

    before = dict(BaseContainer._resolvers)  # noqa: SLF001 - OmegaConf has no public way to look a resolver up
    if OmegaConf.has_resolver("eval"):  # the user's own: registering a second one would raise
        OmegaConf.clear_resolver("eval")
    try:
        yield
    finally:
        BaseContainer._resolvers.clear()  # noqa: SLF001
        BaseContainer._resolvers.update(before)  # noqa: SLF001
