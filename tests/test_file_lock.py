"""Locks between processes: writers alone, readers together; a lock ends with its holder."""

import contextlib
import subprocess
import sys
import threading

import pytest

from afnet_jax.file_lock import read_lock, write_lock
from tests.support.calls import until_told

HOLDER = """
import pathlib, sys
from afnet_jax.file_lock import write_lock
with write_lock(pathlib.Path(sys.argv[1]), "a test's file: being held"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another_process(path):
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


class Waiting:
    """Takes a lock in a thread of its own, and gives it back at once."""

    def __init__(self, kind, path):
        self.taken = threading.Event()
        threading.Thread(target=self._take, args=(kind, path), daemon=True).start()

    def _take(self, kind, path):
        with kind(path, "a test's file: being held"):
            self.taken.set()

    def has_taken(self, seconds=20):
        return self.taken.wait(seconds)


@pytest.mark.parametrize("kind", [write_lock, read_lock])
@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_one_waits_until_the_writer_leaves_or_dies(tmp_path, capsys, kind, end):
    path = tmp_path / "folder" / ".lock"
    with another_process(path) as holder:
        waiting = Waiting(kind, path)
        told = until_told(capsys)
        assert not waiting.has_taken(0.1)
        assert told == f"a test's file: being held by {path.read_text()}; waiting for it\n"
        assert f"process {holder.pid} on " in told
        holder.kill() if end == "is killed" else holder.stdin.close()
        assert waiting.has_taken()
    assert capsys.readouterr().err == ""


def test_readers_read_together_and_a_writer_waits_for_them(tmp_path):
    path = tmp_path / ".lock"
    with write_lock(path, "first"):
        pass
    with read_lock(path, "second"):
        assert Waiting(read_lock, path).has_taken()
        writer = Waiting(write_lock, path)
        assert not writer.has_taken(0.3)
    assert writer.has_taken()


def test_readers_need_no_file_and_leave_none(tmp_path):
    with read_lock(tmp_path / "none" / ".lock", "nothing"):
        pass
    assert not (tmp_path / "none").exists()


def test_a_fault_within_frees_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), write_lock(tmp_path / ".lock", "first"):
        1 / 0  # noqa: B018
    assert Waiting(write_lock, tmp_path / ".lock").has_taken()
