"""Finished scans gathered into a data set: the time, and the memory of the process that does it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from afnet_jax.datasets import preparation
from afnet_jax.datasets.builder import read_records
from afnet_jax.datasets.records import as_record
from afnet_jax.preprocessing import preprocess
from afnet_jax.scans.databases import database_of

_READER = """
from afnet_jax.scans import ScanId

SUFFIXES = [".copy"]


def scan_id(path, database="copies"):
    return ScanId(database, path.stem, "HA", None, None, path.stem)


def read_scan(path):
    raise NotImplementedError("all scans are finished")
"""


def benchmark_gathering(prepared: Path, counts: Sequence[int]) -> list[dict]:
    """Measures the process that gathers finished scans, copies of prepared ones, into a data set.

    Args:
        prepared: a data set's folder, whose first scans are copied.
        counts: numbers of scans.

    Returns:
        One row per number: seconds and the process's peak of memory, MiB.
    """
    return [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", _GATHER, str(prepared), str(count)], check=True, capture_output=True, text=True
            ).stdout.splitlines()[-1]
        )
        for count in counts
    ]


_GATHER = "import sys; from benchmarks.gathering import gather; gather(sys.argv[1], int(sys.argv[2]))"


def gather(prepared: str, count: int, different: int = 24) -> None:
    """Gathers copies in this process, a fresh one, and prints what that took as JSON."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        raw, data_dir, reader = Path(folder) / "raw", Path(folder) / "data", Path(folder) / "reader.py"
        reader.write_text(_READER, encoding="utf-8")
        raw.mkdir()
        finished = data_dir / ".finished" / "copies"
        finished.mkdir(parents=True)
        originals = []
        for index, example in zip(range(different), read_records(Path(prepared)), strict=False):
            originals.append(Path(folder) / f"{index}.npz")
            np.savez(originals[-1], **as_record(example))  # type: ignore[arg-type]
        database = database_of("copies", reader)
        code = preparation._code_digest(preprocess, database)
        for index in range(count):
            path = raw / f"{index:07d}.copy"
            path.touch()
            scan_id = database.reader.scan_id(path, "copies")
            job = preparation._job(
                scan_id, path, raw=str(raw.resolve()), suffixes=[".copy"], finished=finished, code=code
            )
            job.target.hardlink_to(originals[index % len(originals)])
        start = time.perf_counter()
        done = preparation.prepare("copies", raw, data_dir, workers=1, reader=reader)
        seconds = time.perf_counter() - start
        files = len(list(done.folder.glob("*.array_record*")))
    # Not ru_maxrss, which a program inherits from the one that started it.
    (peak,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    mib = int(peak) / 1024
    print(json.dumps({"scans": done.prepared, "files": files, "seconds": seconds, "peak_mib": mib}))
