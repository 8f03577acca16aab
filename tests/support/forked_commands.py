"""Commands in processes of their own, without each importing JAX and its companions anew, which takes seconds.

A server that has imported them starts a copy of itself for each command; the copy then does what `python WORDS` does.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.support.calls import Done

# What commands import at length. It begins no program on a device: a copy of a process that has would hang.
_COSTLY = ("afnet_jax.experiments.run", "afnet_jax.training.loop", "tensorflow_datasets", "orbax.checkpoint")
_SECONDS = 600  # a command that hangs is ended, by SIGALRM


class CommandServer:
    """Runs commands in `place`, one after another, with `environment` beside the present one."""

    def __init__(self, place: Path, environment: dict[str, str]):
        self.place = place
        self.log = (place / "stdout.txt", place / "stderr.txt")
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=place,
            # As `afnet train` sets it when it starts Python anew, which would lose what the server has imported.
            env={**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.process.communicate()

    def run(self, words: list[str]) -> Done:
        """What `python WORDS` does, WORDS being `-m MODULE ARGUMENTS` or `FILE ARGUMENTS`."""
        print(json.dumps([words, *map(str, self.log)]), file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        return Done(code, *(file.read_text(encoding="utf-8", errors="replace") for file in self.log))


def _serve() -> None:
    for name in _COSTLY:
        __import__(name)
    for line in sys.stdin:
        if os.fork() == 0:
            _become(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)


def _become(words: list[str], *log: str) -> None:
    signal.alarm(_SECONDS)
    for descriptor, file in enumerate((os.devnull, *log)):
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
        os.close(opened)
    module, *arguments = words[1:] if words[0] == "-m" else words
    sys.argv = [module, *arguments]
    sys.orig_argv = [sys.executable, *words]
    if words[0] == "-m":
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(module).parent))
        runpy.run_path(module, run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    _serve()
