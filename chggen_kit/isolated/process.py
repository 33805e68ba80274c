"""`Worker`: the kit's side of a process in another environment."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import queue
import signal
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from chggen_kit import __version__
from chggen_kit.errors import PluginError
from chggen_kit.isolated.environment import LIGHT
from chggen_kit.isolated.frames import PROTOCOL, pack, unpack
from chggen_kit.isolated.plain import error_from_plain
from chggen_kit.plugins.environments import VARIABLE, Environment

_LOG = logging.getLogger(__name__)
_LOG_LINES = 20
_GRACE_S = 2.0
"""Seconds that a worker has to end by itself."""
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__")
"""Variables that say where *this* interpreter finds its packages."""
_LIGHT = (*LIGHT, "torch")
"""What the kit's source needs to run in a worker."""

Frame = tuple[dict[str, Any], dict[str, Tensor]]


class Worker:
    """One process in another environment, which answers one request at a time. Every failure ends it for good.

    Args:
        environment: the interpreter, and its limits on time.
        what: what it runs, for messages, as in "potential 'mace'".
        packages: top-level packages whose source it shares with this process, besides the kit itself.

    Raises:
        PluginError: when it cannot be started, lacks a package, or speaks another version of the protocol.
    """

    def __init__(self, environment: Environment, what: str, packages: Iterable[str]) -> None:
        self.environment = environment
        self.what = f"{what} in {environment}"
        self._lock = threading.Lock()
        self._released: deque[int] = deque()
        self._count = 0
        self._ended = ""
        shared = {name: _source(name) for name in ("chggen_kit", *packages)}
        setup = json.dumps({"kit": environment.kit, "packages": shared if environment.kit == "shared" else {}})
        bootstrap = Path(__file__).with_name("bootstrap.py")
        variables = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        variables[VARIABLE] = ""
        try:
            process = subprocess.Popen(  # noqa: S603 - the interpreter that the user named, no shell
                [str(environment.python), str(bootstrap), setup],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=variables,
                start_new_session=True,  # so that Ctrl-C reaches this process only, which then ends the other
            )
        except OSError as error:
            raise PluginError(
                f"The interpreter {environment.python} (named by {environment.source}) cannot be started: {error}."
            ) from error
        self._process = process
        self._finalizer = weakref.finalize(self, _end, process, os.getpid())
        self._frames: queue.SimpleQueue[Frame | BaseException] = queue.SimpleQueue()
        self._tail: deque[str] = deque(maxlen=_LOG_LINES)
        stdout, stderr = cast("IO[bytes]", process.stdout), cast("IO[bytes]", process.stderr)
        threading.Thread(target=_read_frames, args=(stdout, self._frames), daemon=True).start()
        self._drain = threading.Thread(target=_drain, args=(stderr, self._tail, self.what), daemon=True)
        self._drain.start()
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def request(
        self,
        call: str,
        tensors: Mapping[str, Tensor] | None = None,
        *,
        timeout_s: float | None = None,
        **header: object,
    ) -> Frame:
        """Answer and tensors of one request.

        Raises:
            PluginError: when the worker fails, dies, or does not answer in time; it is ended then.
            ChggenError: what the plug-in itself raised of the kit's errors.
            MemoryError: when it ran out of memory; `torch.OutOfMemoryError` where that was the device's.
        """
        with self._lock:
            if self._ended:
                raise PluginError(f"The {self.what} is gone: {self._ended} Make it again to go on.")
            self._count += 1
            release = [self._released.popleft() for _ in range(len(self._released))]
            sent = {"id": self._count, "call": call, "threads": torch.get_num_threads(), "release": release, **header}
            try:
                threading.Thread(target=_write, args=(self._process, pack(sent, tensors)), daemon=True).start()
                answer, results = self._next(timeout_s or self.environment.timeout_s, call)
                self._check_id(answer)
            except BaseException as error:
                self._stop(f"it was ended by {type(error).__name__} during {call!r}.")
                raise
        if "error" in answer:
            raise error_from_plain(answer["error"], self.what)
        return answer["answer"], results

    def release(self, handle: int) -> None:
        """Let the worker forget an encoded batch, with the next request. Safe to call from a finalizer."""
        self._released.append(handle)

    def close(self) -> None:
        """End the process; nothing happens when it has ended. Leaving the program does the same."""
        self._stop("it was closed.")

    def _stop(self, why: str) -> None:
        self._ended = self._ended or why
        self._finalizer()

    def _greet(self) -> None:
        header, _ = self._next(self.environment.start_timeout_s, "start")
        if "failed" in header:
            raise PluginError(self._explain_refusal(header["failed"]))
        hello = header.get("hello", {})
        if hello.get("protocol") != PROTOCOL:
            raise PluginError(
                f"The {self.what} speaks version {hello.get('protocol')!r} of the protocol, this kit ({__version__}) "
                f"version {PROTOCOL}: the kit installed there is {hello.get('kit', 'unknown')}. Install the same "
                'version there, or leave out `kit = "installed"` for it.'
            )
        _LOG.info("The %s runs in Python %s with torch %s.", self.what, hello.get("python"), hello.get("torch"))

    def _check_id(self, answer: Mapping[str, Any]) -> None:
        if answer.get("id") != self._count:
            raise self._failure(f"The {self.what} answered another question ({answer.get('id')!r}).")

    def _explain_refusal(self, failed: Mapping[str, Any]) -> str:
        python, module = self.environment.python, str(failed.get("module", ""))
        if failed["reason"] == "python":
            return f"The {self.what} cannot run: that is Python {failed['version']}, and the kit needs 3.11 or later."
        if module == "chggen_kit":
            return (
                f"The {self.what} cannot run: chggen-kit is not installed there. Install it with "
                f'`{python} -m pip install chggen-kit`, or leave out `kit = "installed"` to share this one\'s source.'
            )
        top = module.partition(".")[0]
        light = f" The kit itself needs there: {', '.join(_LIGHT)}." if top in _LIGHT else ""
        return (
            f"The {self.what} cannot run, since the kit cannot be imported there: {failed['message']}. "
            f"To mend it: {python} -m pip install {top or 'chggen-kit'}.{light}{self._log()}"
        )

    def _next(self, timeout_s: float, call: str) -> Frame:
        try:
            frame = self._frames.get(timeout=timeout_s)
        except queue.Empty:
            raise self._failure(
                f"The {self.what} did not answer within {timeout_s:g} s (request {call!r}), and was ended. Where more "
                "time is needed, set timeout_s or start_timeout_s of its environment."
            ) from None
        if isinstance(frame, EOFError):
            raise self._failure(f"The {self.what} died during {call!r}: {self._cause()}.")
        if isinstance(frame, BaseException):
            raise self._failure(f"The {self.what} cannot be understood: {frame}") from frame
        return frame

    def _cause(self) -> str:
        try:
            code = self._process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            return "it closed its end of the channel"
        if code >= 0:
            return f"it left with exit status {code}"
        name = signal.Signals(-code).name
        return f"it was ended by {name}" + (", as happens when memory runs out" if name == "SIGKILL" else "")

    def _failure(self, message: str) -> PluginError:
        self._finalizer()
        self._drain.join(timeout=_GRACE_S)
        return PluginError(message + self._log())

    def _log(self) -> str:
        lines = [f"  {line}" for line in list(self._tail)]
        return "\n".join(["", "The end of its log:", *lines]) if lines else ""


def _source(package: str) -> str:
    """File of a top-level package or module, which is not imported for it.

    Raises:
        PluginError: when there is no such package.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise PluginError(f"The source of the package {package!r} cannot be found, so no other environment can use it.")
    return spec.origin


def _write(process: subprocess.Popen[bytes], frame: bytes) -> None:
    rest, stdin = memoryview(frame), cast("IO[bytes]", process.stdin)
    # A worker that is gone is noticed by whoever waits for its answer.
    with contextlib.suppress(OSError, ValueError):
        while rest:
            rest = rest[stdin.write(rest) :]


def _read_frames(stdout: IO[bytes], frames: queue.SimpleQueue[Frame | BaseException]) -> None:
    def read(count: int) -> bytes:
        parts = []
        while count:
            part = stdout.read(min(count, 1 << 24))
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    first = True
    try:
        with stdout:
            while True:
                frames.put(unpack(read, after_noise=first))
                first = False
    except OSError:
        frames.put(EOFError())
    except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
        frames.put(error)


def _drain(stderr: IO[bytes], tail: deque[str], what: str) -> None:
    """Keep the last lines of the log, and pass all on to the logger."""
    rest = b""
    with contextlib.suppress(OSError), stderr:
        while part := stderr.read(1 << 16):
            *lines, rest = (rest + part).replace(b"\r", b"\n").split(b"\n")
            for line in filter(None, (raw.decode(errors="replace").rstrip() for raw in lines)):
                tail.append(line)
                _LOG.debug("%s: %s", what, line)
    if rest.strip():
        tail.append(rest.decode(errors="replace").rstrip())


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Close the worker's input, which ends it; kill it and its children when that does not help. Leaves no zombie."""
    if os.getpid() != owner:  # a forked copy of the program is leaving, and this is not its child
        return
    with contextlib.suppress(OSError):
        cast("IO[bytes]", process.stdin).close()
    try:
        process.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
