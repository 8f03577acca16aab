"""What a run survives, measured: every promise of docs/reliability.md with its figure.

    python tools/measure_reliability.py kills --count=40
    python tools/measure_reliability.py flips --count=100 --truncations=20
    python tools/measure_reliability.py data --count=20
    python tools/measure_reliability.py walks --count=20

kills: a small run is killed (SIGKILL) at random moments, a part of them while a checkpoint is being written, and run
again; its predictions, metrics and parameters must be those of the unbroken run, bit for bit. walks: the same for a run
that is stopped again and again, by SIGKILL, SIGTERM or SIGINT, and goes on each time with other devices, processes,
group sizes and calls, up to 60 times. flips: bits are flipped in, and ends cut from, files of a checkpoint. data: the
same for the files of a prepared data set.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from afnet_jax.command_line import command_parser
from afnet_jax.config import default_config
from afnet_jax.datasets.loading import load
from afnet_jax.errors import AFNetError, RunError
from afnet_jax.runs.checkpoint_files import digest_of_arrays, restore_checkpoint
from afnet_jax.runs.folder import open_checkpoints

_ROOT = Path(__file__).parents[1]
_SMALL = (
    "--config.dataset.synthetic_subjects=4",
    "--config.dataset.image_size=32",
    "--config.protocol.folds=4",
    "--config.train.epochs=4",
    "--config.train.batch_size=4",
    "--config.train.checkpoint_minutes=0.001",
)


def _start(shared: Path, workdir: Path, *extra: str, flags: str = "") -> subprocess.Popen:
    command = [sys.executable, "-m", "afnet_jax.main", "--config=configs/synthetic.py:texture_no_ma", *_SMALL]
    command += [f"--config.dataset.data_dir={shared / 'data'}", f"--config.compilation_cache={shared / 'compiled'}"]
    with (workdir.parent / f"{workdir.name}.log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            [*command, *extra, f"--workdir={workdir}"],
            cwd=_ROOT,
            env={**os.environ, "XLA_FLAGS": flags},
            stdout=log,
            stderr=log,
        )


def _finish(shared: Path, workdir: Path) -> float:
    start = time.monotonic()
    if _start(shared, workdir).wait():
        raise AFNetError(f"{workdir}: the run failed; see {workdir}.log")
    return time.monotonic() - start


def _outcome(workdir: Path) -> dict:
    """All that must be the same: predictions, metrics without their times, the digest of every parameter."""
    with np.load(workdir / "predictions.npz") as file:
        predictions = digest_of_arrays(dict(file))
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    metrics = [{k: v for k, v in line.items() if not k.endswith("seconds")} for line in lines]
    checkpoints = open_checkpoints(workdir)
    stored = sorted(checkpoints.trainings())
    parameters = {f"{round_}/{fold}": digest_of_arrays(checkpoints.weights((round_, fold))) for round_, fold in stored}
    return {"predictions": predictions, "metrics": metrics, "parameters": parameters}


def measure_kills(count: int, seed: int, folder: Path) -> bool:
    """Prints each kill of a living run and returns whether every run came to the same end."""
    draw = random.Random(seed)
    _finish(folder, folder / "first")  # makes the data and the compiled programs
    seconds = _finish(folder, folder / "unbroken")
    expected = _outcome(folder / "unbroken")
    killed = writing = same = 0
    while killed < count:
        workdir = folder / "killed"
        shutil.rmtree(workdir, ignore_errors=True)
        process = _start(folder, workdir)
        start = time.monotonic()
        if killed % 3 == 0:
            _wait_for_write(process, workdir, skip=draw.randrange(4))
            time.sleep(draw.uniform(0, 0.2))
        else:
            time.sleep(draw.uniform(0, seconds))
        was_writing = any(workdir.glob("checkpoints/*/*orbax-checkpoint-tmp*"))
        alive = process.poll() is None
        process.kill()
        process.wait()
        after = time.monotonic() - start
        if not alive:  # it was faster this time: no kill
            continue
        _finish(folder, workdir)
        equal = _outcome(workdir) == expected
        killed += 1
        writing += was_writing
        same += equal
        moment = " (during a checkpoint's write)" if was_writing else ""
        print(f"kill {killed}/{count} after {after:.1f} s{moment}: {'same' if equal else 'DIFFERENT'}", flush=True)
    print(f"{same} of {count} resumed runs equal the unbroken one; {writing} were killed while writing a checkpoint")
    return same == count


@dataclasses.dataclass(frozen=True)
class _Step:
    """One stretch of a walk: how the run is started, and how and when it is stopped."""

    processes: int
    devices: int
    group: str
    dispatch: str
    signal: signal.Signals
    seconds: float
    in_write: bool

    @classmethod
    def draw(cls, draw: random.Random, longest: float) -> _Step:
        return cls(
            processes=draw.choice((1, 1, 2)),
            devices=draw.choice((1, 2, 4)),
            group=draw.choice(("auto", "1", "3", "4")),
            dispatch=draw.choice(("1", "1000")),  # a whole epoch
            signal=draw.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)),
            seconds=draw.uniform(0.3, 1.0) * longest,
            in_write=draw.random() < 0.3,
        )

    def start(self, shared: Path, workdir: Path) -> list[subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        extra = [f"--config.train.folds_per_group={self.group}", f"--config.train.steps_per_dispatch={self.dispatch}"]
        if self.processes > 1:
            extra += [f"--config.distributed.coordinator={address}", "--config.distributed.processes=2"]
        flags = f"--xla_force_host_platform_device_count={self.devices}"
        of_each = [[f"--config.distributed.process={p}"] if self.processes > 1 else [] for p in range(self.processes)]
        return [_start(shared, workdir, *extra, *own, flags=flags) for own in of_each]

    def stop(self, processes: list[subprocess.Popen], workdir: Path) -> None:
        """Sends the signal when its time has come; all processes have ended when this returns."""
        end = time.monotonic() + self.seconds
        if self.in_write:
            _wait_for_write(processes[0], workdir, skip=0)
        while time.monotonic() < end and processes[0].poll() is None and not self.in_write:
            time.sleep(0.02)
        for process in processes:
            process.send_signal(self.signal)
        for process in processes:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:  # it waits for one that has gone
                process.kill()
                process.wait()


def measure_walks(count: int, seed: int, folder: Path, steps: int = 60) -> bool:
    """Prints each walk and returns whether all came to the end of the unbroken run."""
    _finish(folder, folder / "first")
    longest = _finish(folder, folder / "unbroken")
    expected = _outcome(folder / "unbroken")
    same = 0
    for walk in range(count):
        draw, workdir, taken = random.Random(f"{seed}/{walk}"), folder / f"walk{walk}", 0
        while taken < steps and not (workdir / "summary.json").exists():
            step = _Step.draw(draw, longest)
            step.stop(step.start(folder, workdir), workdir)
            taken += 1
        if not (workdir / "summary.json").exists():
            _finish(folder, workdir)
        equal = _outcome(workdir) == expected
        same += equal
        print(f"walk {walk + 1}/{count}: {taken} stretches: {'same' if equal else 'DIFFERENT'}", flush=True)
        if equal:
            shutil.rmtree(workdir)
    print(f"{same} of {count} walks ended with the unbroken run's predictions, metrics and parameters")
    return same == count


def _wait_for_write(process: subprocess.Popen, workdir: Path, skip: int) -> None:
    """Until a checkpoint is being written for the (skip + 1)th time, or the run is over."""
    seen: set[str] = set()
    while process.poll() is None:
        seen |= {path.name for path in workdir.glob("checkpoints/*/*orbax-checkpoint-tmp*")}
        if len(seen) > skip:
            return
        time.sleep(0.005)


def _damages(files: list[Path], flips: int, truncations: int) -> Iterator[tuple[str, Path, Callable[[bytes], bytes]]]:
    """What is done to which file."""
    draw = random.Random(0)

    def flip(position: int, bit: int) -> Callable[[bytes], bytes]:
        return lambda whole: whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :]

    def cut(length: int) -> Callable[[bytes], bytes]:
        return lambda whole: whole[:length]

    for _ in range(flips):
        path = draw.choice(files)
        position, bit = draw.randrange(path.stat().st_size), draw.randrange(8)
        yield f"bit {bit} of byte {position} of {path.name} flipped", path, flip(position, bit)
    for _ in range(truncations):
        path = draw.choice(files)
        length = draw.randrange(path.stat().st_size)
        yield f"{path.name} cut to {length} bytes", path, cut(length)


def _measure_damage(files: list[Path], read: Callable[[], object], flips: int, truncations: int) -> bool:
    """Damages one file at a time and reads; what is read without complaint must be what was there before."""
    whole = read()
    noticed = harmless = 0
    for what, path, damage in _damages(files, flips, truncations):
        before = path.read_bytes()
        path.write_bytes(damage(before))
        try:
            found = read()
        except AFNetError as error:
            noticed += 1
            print(f"noticed: {what}: {str(error)[-150:]}")
        else:
            harmless += found == whole
            print(f"{'harmless' if found == whole else 'SILENTLY USED'}: {what}")
        finally:
            path.write_bytes(before)
    total = flips + truncations
    print(f"{noticed} of {total} noticed, {harmless} without effect, {total - noticed - harmless} silently used")
    return noticed + harmless == total


def measure_flips(flips: int, truncations: int, folder: Path) -> bool:
    """Damage to a checkpoint in the middle of a training, with the optimizer's state."""
    _finish(folder, folder / "run")
    (path,) = (folder / "run" / "checkpoints").glob("*/*/")

    def read():
        arrays, record = restore_checkpoint(path)
        return digest_of_arrays(arrays), record

    files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.stat().st_size]
    return _measure_damage(files, read, flips, truncations)


def measure_data(flips: int, truncations: int, folder: Path) -> bool:
    """Damage to a prepared data set."""
    _finish(folder, folder / "run")
    settings = default_config().dataset
    settings.update(data_dir=str(folder / "data"), image_size=32, synthetic_subjects=4)
    files = [path for path in sorted((folder / "data").glob("*/synthetic/*/*")) if path.stat().st_size]
    return _measure_damage(files, lambda: load(settings).digest, flips, truncations)


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("what", choices=["kills", "walks", "flips", "data"])
    parser.add_argument("--count", type=int, default=40, help="kills, walks, or flipped bits (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills (default: 0)")
    parser.add_argument("--truncations", type=int, default=0, help="files cut short (default: 0)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            if given.what in ("kills", "walks"):
                broken = {"kills": measure_kills, "walks": measure_walks}[given.what]
                good = broken(given.count, given.seed, Path(folder))
            else:
                measure = {"flips": measure_flips, "data": measure_data}[given.what]
                good = measure(given.count, given.truncations, Path(folder))
        except RunError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
