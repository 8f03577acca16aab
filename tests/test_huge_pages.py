"""The new start with huge pages: the same process, the same arguments, and never against the user's own setting."""

import os
import subprocess
import sys

import pytest

from afnet_jax.huge_pages import start_with_huge_pages

PROGRAM = """
import os, sys
from afnet_jax.huge_pages import start_with_huge_pages
if __name__ == "__main__":
    start_with_huge_pages()
    print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
@pytest.mark.parametrize(("before", "after"), [(None, "glibc.malloc.hugetlb=1"), ("", ""), ("x.y=1", "x.y=1")])
def test_same_process_and_arguments(tmp_path, before, after):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), *sys.path]))}
    if before is not None:
        environment["GLIBC_TUNABLES"] = before
    process = subprocess.Popen(
        [sys.executable, "-m", "program", "--config=a b", "c"], env=environment, stdout=subprocess.PIPE, text=True
    )
    told = process.communicate(timeout=600)[0]
    assert told == f"{process.pid} {after} ['--config=a b', 'c']\n"


@pytest.mark.parametrize("executable", ["", "/nowhere/python"])
def test_a_python_that_cannot_be_started_again_goes_on_as_it_is(monkeypatch, executable):
    """Python does not know its own file where another program embeds it, and may lack the right to it."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "executable", executable)
    start_with_huge_pages()
    assert "GLIBC_TUNABLES" not in os.environ
