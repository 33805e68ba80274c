"""The command line's frame: help, exit codes, global options."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

import chggen_kit.cli
from chggen_kit.cli._groups import VerbGroup
from chggen_kit.cli._state import CliState, cli_state, global_options
from chggen_kit.errors import CheckpointError, ChggenError, InputError, PluginError, RunDirectoryError


@pytest.fixture(autouse=True)
def _restore_logging_and_warnings() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)


Run = Callable[..., Result]


@pytest.fixture
def run_verb(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a function as the body of `chggen verb`."""

    def run(body: Callable[[], object], *args: str) -> Result:
        module = ModuleType("frame_verb")
        module.command = click.Command("verb", callback=body)
        monkeypatch.setitem(sys.modules, "frame_verb", module)
        verbs = {"verb": ("frame_verb:command", "A verb.")}
        group = VerbGroup(name="chggen", verbs=verbs, params=[*global_options()])
        return CliRunner().invoke(group, list(args) or ["verb"])

    return run


def _raise(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize("error", [InputError, CheckpointError, PluginError, RunDirectoryError])
def test_what_the_user_can_mend_is_exit_code_2_with_the_message(run_verb: Run, error: type[ChggenError]) -> None:
    result = run_verb(_raise(error("do this instead")))
    assert result.exit_code == 2
    assert result.stderr == "Error: do this instead\n"
    assert result.stdout == ""


def test_other_errors_of_the_kit_are_exit_code_1(run_verb: Run) -> None:
    assert run_verb(_raise(ChggenError("no"))).exit_code == 1


def test_verbose_shows_where_an_error_came_from(run_verb: Run) -> None:
    assert "Traceback" in run_verb(_raise(InputError("no")), "-v", "verb").stderr


@pytest.mark.parametrize("verb", chggen_kit.cli.VERBS)
def test_ctrl_c_is_130_and_promises_to_go_on_only_where_that_is_so(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = click.Command(verb, callback=_raise(KeyboardInterrupt()))
    monkeypatch.setattr(chggen_kit.cli.cli, "load", lambda *_: command)
    result = CliRunner().invoke(chggen_kit.cli.cli, [verb])
    assert result.exit_code == 130
    assert "Interrupted." in result.stderr
    promised = "when the same command is given again" in result.stderr
    assert promised is (verb in {"generate", "inpaint", "judge", "train", "evaluate", "benchmark", "campaign"})


def test_unforeseen_errors_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    group = VerbGroup(name="chggen", verbs={"verb": ("no_such_module_at_all:command", "")})
    monkeypatch.setattr(chggen_kit.cli, "cli", group)
    with pytest.raises(SystemExit) as caught:
        chggen_kit.cli.main(["verb"])
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert "No module named 'no_such_module_at_all'" in message
    assert "did not foresee" in message


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["verb"], CliState()),
        (["-vv", "--progress", "json", "verb"], CliState(verbose=2, progress="json")),
        (["verb", "--quiet", "--strict-plugins"], CliState(quiet=True, strict_plugins=True)),
        (["--progress", "json", "verb", "--progress", "plain"], CliState(progress="plain")),
        (["--progress", "json", "-v", "verb"], CliState(verbose=1, progress="json")),
    ],
)
def test_global_options_stand_before_or_after_the_verb(run_verb: Run, args: list[str], expected: CliState) -> None:
    seen: list[CliState] = []
    result = run_verb(lambda: seen.append(cli_state()), *args)
    assert result.exit_code == 0, result.output
    assert seen == [expected]


def test_logs_of_others_are_silent_unless_asked_for(run_verb: Run) -> None:
    def body() -> None:
        logging.getLogger("chggen_kit.somewhere").info("ours")
        logging.getLogger("foreign").info("theirs")

    assert run_verb(body).stderr == "ours\n"
    assert "foreign: theirs" in run_verb(body, "-vv", "verb").stderr
    assert run_verb(body, "verb", "-q").stderr == ""


@pytest.mark.parametrize("verbose", [0, 1])
def test_warnings_of_others_are_silent_unless_asked_for(verbose: int) -> None:
    # In a process of its own: pytest has filters of its own.
    code = f"""
import warnings
from chggen_kit.cli._state import CliState
CliState(verbose={verbose}).configure()
warnings.warn_explicit("their warning", UserWarning, "theirs.py", 1, module="theirs")
warnings.warn_explicit("our warning", UserWarning, "ours.py", 1, module="chggen_kit.x")
"""
    result = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "our warning" in result.stderr
    assert ("their warning" in result.stderr) is bool(verbose)


def test_help_lists_every_verb_with_its_text_and_near_matches_are_offered() -> None:
    result = CliRunner().invoke(chggen_kit.cli.cli, ["--help"])
    assert result.exit_code == 0
    for verb, (_, text) in chggen_kit.cli.VERBS.items():
        assert verb in result.stdout
        assert text in result.stdout
    result = CliRunner().invoke(chggen_kit.cli.cli, ["genrate"])
    assert result.exit_code == 2
    assert "Did you mean 'generate'" in result.stderr


@pytest.mark.parametrize("verb", ["train", "plugins"])
def test_verbs_can_be_imported(verb: str) -> None:
    command = chggen_kit.cli.cli.get_command(click.Context(chggen_kit.cli.cli), verb)
    assert isinstance(command, click.Command)
    assert command.name == verb


def test_global_options_reach_the_commands_below_a_verb() -> None:
    result = CliRunner().invoke(chggen_kit.cli.cli, ["plugins", "list", "--json", "-v"])
    assert result.exit_code == 0, result.output


def test_waiting_threads_sleep_unless_the_user_says_otherwise() -> None:
    code = (
        "import os, sys; from chggen_kit.cli import main\n"
        "try: main(['--version'])\n"
        "finally: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    for given, expected in (({}, "PASSIVE False"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE False")):
        bare = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        result = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", code], env={**bare, **given}, capture_output=True, text=True, check=False
        )
        assert result.stdout.splitlines()[-1] == expected, result.stderr
