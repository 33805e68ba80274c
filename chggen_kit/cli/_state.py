"""What the global options of the command line say, and what follows from it: logging, warnings, registry, progress."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from chggen_kit.progress import MODES, make_progress

if TYPE_CHECKING:
    from chggen_kit.plugins import Registry
    from chggen_kit.progress import ProgressReporter

_HANDLER = "chggen command line"


@dataclass
class CliState:
    """Values of the global options.

    Attributes:
        verbose: 0, 1 (-v: debugging messages of the kit, and warnings) or 2 (-vv: of all libraries).
        quiet: errors only, no progress.
        strict_plugins: a broken plug-in ends the program.
        progress: how progress is shown.
    """

    verbose: int = 0
    quiet: bool = False
    strict_plugins: bool = False
    progress: str = "auto"

    def registry(self) -> Registry:
        """The registry of the installed plug-ins.

        Raises:
            PluginError: with `--strict-plugins`, when one is broken.
        """
        from chggen_kit.plugins import get_registry

        return get_registry(strict=self.strict_plugins)

    def make_progress(self, description: str = "") -> AbstractContextManager[ProgressReporter]:
        """Progress reporter as the options ask for it."""
        return make_progress("none" if self.quiet else self.progress, description)

    def configure(self) -> None:
        """Set up logging and warnings; this is the only place of the kit that does."""
        _configure_logging(self)
        if sys.warnoptions:  # the user of -W or PYTHONWARNINGS knows better
            return
        if self.verbose:
            warnings.resetwarnings()
        else:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("default", module=r"chggen_")


def cli_state(ctx: click.Context | None = None) -> CliState:
    """State of the running command line (of the current context by default)."""
    root = (ctx or click.get_current_context()).find_root()
    if not isinstance(root.obj, CliState):
        root.obj = CliState()
    return root.obj


def global_options() -> list[click.Option]:
    """The options that may stand before or after the verb."""
    return [
        click.Option(
            ["-v", "--verbose"], count=True, default=0, help="Say more; twice: libraries too.", **_stored("verbose")
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="Errors only, no progress.", **_stored("quiet")),
        click.Option(
            ["--strict-plugins"], is_flag=True, help="A broken plug-in is an error.", **_stored("strict_plugins")
        ),
        click.Option(
            ["--progress"],
            type=click.Choice(MODES),
            default=None,
            help="How progress is shown [auto: rich on a terminal, else plain].",
            **_stored("progress"),
        ),
    ]


def _stored(attribute: str) -> dict[str, Any]:
    return {"expose_value": False, "is_eager": True, "callback": _store(attribute)}


def _store(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def store(ctx: click.Context, _: click.Parameter, value: Any) -> None:  # noqa: ANN401 - as click has it
        if value:  # given here; otherwise what was given before the verb stays
            state = cli_state(ctx)
            setattr(state, attribute, value)
            state.configure()

    return store


class _CurrentStderr(logging.StreamHandler[Any]):
    """Writes to whatever `sys.stderr` is at the time: progress bars replace it while they are shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.set_name(_HANDLER)

    @property
    def stream(self) -> Any:  # noqa: ANN401 - a text stream, looked up afresh
        return sys.stderr


def _configure_logging(state: CliState) -> None:
    own = logging.ERROR if state.quiet else logging.DEBUG if state.verbose else logging.INFO
    foreign = logging.ERROR if state.quiet else logging.DEBUG if state.verbose > 1 else logging.WARNING

    def passes(record: logging.LogRecord) -> bool:
        return record.levelno >= (own if record.name.startswith("chggen") else foreign)

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            text = super().format(record)
            plain = record.levelno == logging.INFO and not state.verbose
            return text if plain else f"{record.levelname.lower()}: {record.name}: {text}"

    handler = _CurrentStderr()
    handler.addFilter(passes)
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    for old in [h for h in root.handlers if h.get_name() == _HANDLER]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(min(own, foreign))
