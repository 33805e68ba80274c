"""Builds MatterGen's network and its noise processes from a checkpoint's `config.yaml`, and nothing else.

The file names classes to be called with arguments (Hydra's `_target_`). It comes with the weights from wherever the
user got them, so it is read with care: only the part that describes the diffusion module is built, a target must be
a class of the few modules of `mattergen` that models are made of, and nothing that the file says is evaluated.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from chggen_kit.errors import CheckpointError
from chggen_mattergen.package import load_package

_ALLOWED_MODULES = (
    "mattergen.adapter",
    "mattergen.common.diffusion.corruption",
    "mattergen.common.gemnet.gemnet",
    "mattergen.common.gemnet.gemnet_ctrl",
    "mattergen.common.gemnet.layers.embedding_block",
    "mattergen.common.loss",
    "mattergen.common.utils.data_utils",
    "mattergen.denoiser",
    "mattergen.diffusion.corruption.d3pm_corruption",
    "mattergen.diffusion.corruption.multi_corruption",
    "mattergen.diffusion.d3pm.d3pm",
    "mattergen.diffusion.diffusion_module",
    "mattergen.diffusion.model_utils",
    "mattergen.property_embeddings",
)
"""Modules whose classes a configuration may name."""
_MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What the package raises for arguments of the wrong type or size; it checks few of them itself."""
_ALLOWED_FUNCTIONS = (
    "mattergen.common.diffusion.corruption.LatticeVPSDE.from_vpsde_config",
    "mattergen.diffusion.d3pm.d3pm.create_discrete_diffusion_schedule",
)
_PART = "lightning_module.diffusion_module"
_INITIALISERS = (
    "mattergen.common.gemnet.layers.atom_update_block",
    "mattergen.common.gemnet.layers.efficient",
)


def read_config(path: Path) -> dict[str, Any]:
    """The part of `config.yaml` that describes the diffusion module, as plain data with references followed.

    Raises:
        CheckpointError: when the file is missing, is not YAML, lacks that part, or needs something evaluated.
    """
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        # From the text, so that only the file named is read.
        text = path.read_text(encoding="utf-8")
        with _without_resolvers():
            whole = OmegaConf.load(io.StringIO(text))
            part = OmegaConf.select(whole, _PART) if isinstance(whole, DictConfig) else None
            if not isinstance(part, DictConfig):
                raise CheckpointError(
                    f"{path} has no part `{_PART}`: it is not the configuration of a MatterGen model. Give the folder "
                    "that holds `config.yaml` and `checkpoints/last.ckpt`."
                )
            plain = OmegaConf.to_container(part, resolve=True)
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise CheckpointError(f"{path} cannot be read as YAML: {error}.") from error
    except OmegaConfBaseException as error:
        raise CheckpointError(
            f"{path} refers to something that is not in it, or wants an expression evaluated "
            f"({str(error).splitlines()[0]}). Expressions are not run; write the values themselves into the file, as "
            "the released models have them."
        ) from error
    return {str(name): value for name, value in plain.items()} if isinstance(plain, dict) else {}


def build_diffusion_module(config: Mapping[str, Any], where: Path) -> torch.nn.Module:
    """The diffusion module of `config`, with weights that are not initialised (they are loaded next).

    Raises:
        CheckpointError: for a target that is not allowed, or arguments that do not fit it.
    """
    load_package()
    # Building draws initial weights from the global generator; nobody needs them, and it is left as it was.
    with torch.random.fork_rng(devices=[]), _without_initialisation(), _without_scale_file(), _logging_kept():
        module = _instantiate(config, where, _PART)
    if not isinstance(module, torch.nn.Module):
        raise CheckpointError(f"{where} describes a {type(module).__name__} where a diffusion module should be.")
    return module


def _instantiate(node: Any, where: Path, place: str) -> Any:  # noqa: ANN401 - whatever the configuration describes
    if isinstance(node, list):
        return [_instantiate(value, where, f"{place}[{index}]") for index, value in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    arguments = {
        str(name): _instantiate(value, where, f"{place}.{name}")
        for name, value in node.items()
        if name not in ("_target_", "_partial_", "_convert_", "_recursive_")
    }
    if "_target_" not in node:
        return arguments
    target = _allowed(str(node["_target_"]), where, place)
    try:
        return functools.partial(target, **arguments) if node.get("_partial_") else target(**arguments)
    except _MISFITS as error:
        raise CheckpointError(
            f"{where}: {node['_target_']} at {place} cannot be made from the arguments given there ({error!r}). The "
            "file was written by another version of mattergen, or changed."
        ) from error


def _allowed(target: str, where: Path, place: str) -> Callable[..., Any]:
    """The class or function that `target` names, if a configuration may name it."""
    if target == "torch.nn.Identity":
        return torch.nn.Identity
    module, _, name = target.rpartition(".")
    found: Any = None
    modules = load_package()
    if target in _ALLOWED_FUNCTIONS:
        if module not in modules:
            module, _, owner = module.rpartition(".")
            found = getattr(getattr(modules[module], owner), name)
        else:
            found = getattr(modules[module], name)
    elif module in _ALLOWED_MODULES and module in modules:
        found = getattr(modules[module], name, None)
        if not inspect.isclass(found) or found.__module__ != module:
            found = None
    if found is None:
        raise CheckpointError(
            f"{where} asks for {target!r} at {place}, which is no part of a MatterGen model. It is not loaded: a "
            "configuration could run anything that way. If the file is yours, leave that part out."
        )
    return found


@contextlib.contextmanager
def _without_resolvers() -> Iterator[None]:
    """Take away what OmegaConf would call for a file: `eval` if a program registered it, and its own `oc.env`."""
    from omegaconf.basecontainer import BaseContainer

    resolvers: dict[str, Any] = BaseContainer._resolvers  # noqa: SLF001 - there is no public way to list them
    kept = dict(resolvers)
    resolvers.clear()
    try:
        yield
    finally:
        resolvers.clear()
        resolvers.update(kept)


@contextlib.contextmanager
def _without_initialisation() -> Iterator[None]:
    """Skip the orthogonal initialisation, which takes most of the time of building a full-size network."""
    modules: dict[str, Any] = {name: load_package()[name] for name in _INITIALISERS}
    dense: Any = load_package()["mattergen.common.gemnet.layers.base_layers"].Dense
    kept = {name: module.he_orthogonal_init for name, module in modules.items()}
    defaults = dense.reset_parameters.__defaults__
    for module in modules.values():
        module.he_orthogonal_init = _leave_as_it_is
    dense.reset_parameters.__defaults__ = (_leave_as_it_is,)
    try:
        yield
    finally:
        for name, module in modules.items():
            module.he_orthogonal_init = kept[name]
        dense.reset_parameters.__defaults__ = defaults


def _leave_as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """Keep `logging.debug`, which the package calls, from setting the root logger up: it has a handler meanwhile."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextlib.contextmanager
def _without_scale_file() -> Iterator[None]:
    """Let GemNet find an empty table of scale factors: the wheel has none, and the weights hold the factors."""
    gemnet: Any = load_package()["mattergen.common.gemnet.gemnet"]
    kept = gemnet.MODELS_PROJECT_ROOT
    with tempfile.TemporaryDirectory(prefix="chggen-mattergen-") as folder:
        table = Path(folder) / "common" / "gemnet" / "gemnet-dT.json"
        table.parent.mkdir(parents=True)
        table.write_text(json.dumps({}), encoding="utf-8")
        gemnet.MODELS_PROJECT_ROOT = folder
        try:
            yield
        finally:
            gemnet.MODELS_PROJECT_ROOT = kept
