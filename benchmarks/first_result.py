"""Measures how long a newcomer waits: installing, the first line of a run, the first picture, the first accuracy.

    python -m benchmarks.first_result --json=benchmarks/first-result.json

Everything happens in a new virtual environment and an empty folder, from a wheel that is built first. Installing
depends on the network, and on what pip has cached. --without_training leaves the last step out, which takes about seven
minutes on two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from afnet_jax.commands.command_line import command_parser, report_faults
from afnet_jax.errors import AFNetError
from afnet_jax.paths import user_path
from benchmarks.__main__ import machine

_ROOT = Path(__file__).parents[1]
_TRAIN = ("afnet", "train", "--config=synthetic", "--workdir=run")
_PICTURE = (
    ("afnet", "synthetic", "--database=bu3dfe", "--out=people", "--subjects=1", "--seed=1", "--levels=4"),
    ("afnet", "view", "people", "--out=faces.png"),
)


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--json", required=True, type=user_path, metavar="FILE", help="to write")
    parser.add_argument("--without_training", action="store_true", help="leaves the whole run out")
    given = parser.parse_args()

    def measure() -> None:
        with tempfile.TemporaryDirectory() as folder:
            rows = measured(Path(folder), training=not given.without_training)
        command = " ".join(sys.argv[1:])
        content = {"machine": machine("first_result"), "program": "python -m benchmarks.first_result"}
        given.json.write_text(
            json.dumps(content | {"command": command, "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )

    return report_faults(measure)


def measured(place: Path, *, training: bool) -> list[dict]:
    """Returns a row for each step, with its seconds."""
    wheel = ("pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={place / 'wheel'}", str(_ROOT))
    _run([sys.executable, "-m", *wheel], place, dict(os.environ))
    inside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    inside["PATH"] = f"{place / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    install = f"python -m venv venv && venv/bin/pip install --quiet {next((place / 'wheel').iterdir())}"
    rows = [_row("pip install, into a new environment", _run(["sh", "-c", install], place, inside))]
    rows.append(_row("afnet --help", _run(["afnet", "--help"], place, inside)))
    pictures = [_run(command, place, inside) for command in _PICTURE]
    rows.append(_row("first picture: one subject is made, afnet view shows the scans", sum(pictures)))
    started = time.perf_counter()
    with subprocess.Popen(_TRAIN, cwd=place, env=inside, stderr=subprocess.PIPE) as run:
        assert run.stderr is not None
        run.stderr.read(1)
        rows.append(_row("first line of afnet train --config=synthetic", time.perf_counter() - started))
        if not training:
            run.terminate()
        run.stderr.read()
    if training:
        rows.append(_row("its accuracy and report", time.perf_counter() - started))
    return rows


def _row(step: str, seconds: float) -> dict:
    return {"step": step, "seconds": round(seconds, 1)}


def _run(command, place: Path, environment: dict[str, str]) -> float:
    """Seconds of a command that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AFNetError(f"{' '.join(command)}: status {done.returncode}: {' '.join(done.stderr.split())[-300:]}")
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
