"""First thing that runs in the other interpreter: puts the pipes out of reach of everybody else, and finds the kit.

It is started by its path, needs nothing but the standard library, and must be readable by old versions of Python. The
one argument is JSON: `{"kit": "shared" or "installed", "packages": {name: file}}`; shared packages (or modules) are
imported from the files given (`__init__.py` of a package), whatever else is installed.
"""

import sys

sys.path.pop(0)  # this file's own directory, whose modules would hide others

import importlib
import json
import os
import signal
import struct
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location

MINIMUM = (3, 11)


class SharedPackages:
    """Finder of the named top-level packages and modules; submodules are found through their packages."""

    def __init__(self, files: "dict[str, str]") -> None:
        self.files = files

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """Where `name` is, if it is one of ours."""
        del path, target
        file = self.files.get(name)
        if file is None:
            return None
        folder, base = os.path.split(file)
        return spec_from_file_location(
            name, file, submodule_search_locations=[folder] if base == "__init__.py" else None
        )


def _claim_pipes() -> "tuple[int, int]":
    """Private copies of standard input and output; what others print goes to the log (standard error)."""
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return incoming, outgoing


def _refuse(outgoing: int, **facts: object) -> None:
    """Tell the parent why there will be no worker, in a frame (see `frames`), and leave."""
    header = json.dumps({"failed": facts}).encode()
    message = b"CHGW" + struct.pack(">IQ", len(header), 0) + header
    while message:
        message = message[os.write(outgoing, message) :]
    os._exit(1)


def main() -> None:
    """Serve requests until standard input ends."""
    incoming, outgoing = _claim_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    if sys.version_info < MINIMUM:
        _refuse(outgoing, reason="python", version=".".join(map(str, sys.version_info[:3])))
    setup = json.loads(sys.argv[1])
    if setup["kit"] == "shared":
        finder: object = SharedPackages(setup["packages"])
        sys.meta_path.insert(0, finder)  # type: ignore[arg-type]  # has the one method that is used
    try:
        worker = importlib.import_module("chggen_kit.isolated.worker")
    except ImportError as error:
        _refuse(outgoing, reason="import", module=getattr(error, "name", None) or "", message=str(error))
    else:
        worker.serve(incoming, outgoing)


if __name__ == "__main__":
    main()
