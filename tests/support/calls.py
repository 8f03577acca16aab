"""Commands called within the tests' own process: their bodies are the same, and no interpreter has to start."""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest


class Done(NamedTuple):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def call(monkeypatch, capsys) -> Callable[..., Done]:
    """call(main, *arguments): runs a command's `main` as the console command does."""

    def run(main: Callable[[], int], *arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        monkeypatch.setenv("GLIBC_TUNABLES", "")  # else `afnet train` would replace this process
        capsys.readouterr()
        try:
            code = main()
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return Done(code or 0, printed.out, printed.err)

    return run


def until_told(capsys) -> str:
    """What has been printed on stderr once a whole line is there, or nothing after 20 s."""
    told, deadline = "", time.monotonic() + 20
    while not told.endswith("\n") and time.monotonic() < deadline:
        time.sleep(0.02)
        told += capsys.readouterr().err
    return told
