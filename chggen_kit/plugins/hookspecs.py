"""The hooks of the kit: one for each kind of plug-in, in callback style.

A plug-in is a module (or any object) named by an entry point of the group `chggen_kit`. It implements the hooks of the
kinds that it provides, and calls `register` once for every name:

    from chggen_kit import hookimpl

    @hookimpl
    def chggen_kit_register_samplers(register):
        register("mine", "my_package.sampler:build", options="my_package.sampler:MyOptions", summary="What it does")

The module should import nothing heavy: it is loaded by every command, whereas what its import strings name is imported
on use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from pydantic import BaseModel

hookspec = pluggy.HookspecMarker("chggen_kit")


class Register(Protocol):
    """The callback that a plug-in calls for every name that it provides."""

    def __call__(
        self,
        name: str,
        factory: str | Callable[..., Any],
        options: str | type[BaseModel] | None = None,
        summary: str = "",
        requires: Sequence[str] = (),
        default: bool = False,
    ) -> None:
        """Register one name.

        Args:
            name: what users write; letters, digits, dots and hyphens. Case and underscores make no difference.
            factory: import string `module:attribute` (imported on use), or a callable. It is called with the validated
                options, `factory(options)`, or with nothing when there is no options model; a relaxer's factory gets
                the keyword `potential` as well. For a trainer: a `click.Command`, or an import string of one.
            options: pydantic model of the options, or its import string. The options `checkpoint` and `device` of a
                score model or a potential are what the command line's `--checkpoint` and `--device` fill.
            summary: one line for listings.
            requires: distributions that must be installed beyond the plug-in's own dependencies, as in pip
                (`some-library>=1.2`). Where one is missing the name is listed as such, with the pip line.
            default: whether it is the one used where nothing is named; heeded in the kit's own plug-ins only.

        Raises:
            PluginError: for a name or an import string that cannot be used.
        """


@hookspec
def chggen_kit_register_score_models(register: Register) -> None:
    """Register backends: factories of `chggen_kit.interfaces.ScoreModel`."""


@hookspec
def chggen_kit_register_samplers(register: Register) -> None:
    """Register samplers: factories of `chggen_kit.interfaces.Sampler`."""


@hookspec
def chggen_kit_register_host_refiners(register: Register) -> None:
    """Register host refiners: factories of `chggen_kit.interfaces.HostRefiner`."""


@hookspec
def chggen_kit_register_relaxers(register: Register) -> None:
    """Register relaxers: factories of `chggen_kit.interfaces.Relaxer`; each is given `potential` too."""


@hookspec
def chggen_kit_register_potentials(register: Register) -> None:
    """Register potentials: factories of `chggen_kit.interfaces.Potential`."""


@hookspec
def chggen_kit_register_trainers(register: Register) -> None:
    """Register trainers: `click.Command` objects that train a backend (`chggen train NAME`)."""


@hookspec
def chggen_kit_register_executors(register: Register) -> None:
    """Register executors: factories of `chggen_kit.interfaces.Executor`, which run the shards of campaigns."""
