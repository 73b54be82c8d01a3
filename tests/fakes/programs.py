"""Runs programs in processes of their own in which TensorFlow is imported already.

Importing takes most of the time of a small program. So one process imports TensorFlow and forks for each program.
What depends on the import (threads, messages, a quick `--help`) needs a process that starts from nothing.
"""

import atexit
import functools
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_SECONDS = 300  # The longest program.


def run(*arguments: object, folder: Path = REPOSITORY) -> subprocess.CompletedProcess:
    """What `python *arguments` does in a folder: a script, or -m and a module, or -c and code."""
    with tempfile.TemporaryDirectory() as scratch:
        outputs = [Path(scratch) / name for name in ("stdout", "stderr")]
        request = {"arguments": list(map(str, arguments)), "folder": str(folder), "environment": dict(os.environ)}
        request["outputs"] = list(map(str, outputs))
        server = _server()
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(request["arguments"], status, *(path.read_text() for path in outputs))


@functools.cache
def _server() -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.fakes.programs"]
    server = subprocess.Popen(command, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)
    return server


def _serve() -> None:
    """Answers each request with the exit status of its program."""
    from mmsynth_tf import program

    program.prepare_tensorflow()
    import matplotlib.pyplot  # noqa: F401
    import scipy.stats  # noqa: F401
    import tensorflow_datasets  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(**json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(arguments: list[str], folder: str, environment: dict[str, str], outputs: list[str]) -> None:
    """Goes on as a program that has just been started."""
    for number, output in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # Requests are not the program's input.
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.alarm(_SECONDS)
    first, *rest = arguments
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = arguments, str(Path(first).resolve().parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    _serve()
