"""Measures what a run survives: gives the figure of every promise of docs/reliability.md.

    python -m benchmarks.measure_reliability kills --count=40
    python -m benchmarks.measure_reliability flips --count=100 --truncations=20
    python -m benchmarks.measure_reliability data --count=20
    python -m benchmarks.measure_reliability walks --count=20

kills: a small run is killed (SIGKILL) at random moments, a part of them while a checkpoint is being written, and run
again; its predictions, metrics and parameters must be those of the unbroken run, bit for bit. walks: the same for a run
that is stopped up to 60 times, by SIGKILL, SIGTERM or SIGINT, and goes on each time with other devices,
processes, group sizes and calls (benchmarks/walks.py). flips: bits are flipped in, and ends cut from, files of a
checkpoint. data: the same for the files of a prepared data set.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from afnet_jax.commands.command_line import command_parser
from afnet_jax.config import default_config
from afnet_jax.datasets.loading import load
from afnet_jax.errors import AFNetError, RunError
from afnet_jax.runs.checkpoint_files import digest_of_arrays, restore_checkpoint
from benchmarks.walks import measure_walks, outcome

_ROOT = Path(__file__).parents[1]

_SMALL = (
    "--config.dataset.synthetic_subjects=4",
    "--config.dataset.image_size=32",
    "--config.protocol.folds=4",
    "--config.train.epochs=4",
    "--config.train.batch_size=4",
    "--config.train.checkpoint_minutes=0.001",
)


def _start(shared: Path, workdir: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "afnet_jax.main", "--config=configs/synthetic.py:texture_no_ma", *_SMALL]
    command += [f"--config.dataset.data_dir={shared / 'data'}", f"--config.compilation_cache={shared / 'compiled'}"]
    with (workdir.parent / f"{workdir.name}.log").open("a", encoding="utf-8") as log:
        return subprocess.Popen([*command, f"--workdir={workdir}"], cwd=_ROOT, stdout=log, stderr=log)


def _finish(shared: Path, workdir: Path) -> float:
    start = time.monotonic()
    if _start(shared, workdir).wait():
        raise AFNetError(f"{workdir}: the run failed; see {workdir}.log")
    return time.monotonic() - start


def measure_kills(count: int, seed: int, folder: Path) -> bool:
    """Prints each kill of a living run and returns whether every run came to the same end."""
    draw = random.Random(seed)
    _finish(folder, folder / "first")  # makes the data and the compiled programs
    seconds = _finish(folder, folder / "unbroken")
    expected = outcome(folder / "unbroken")
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
        equal = outcome(workdir) == expected
        killed += 1
        writing += was_writing
        same += equal
        moment = " (during a checkpoint's write)" if was_writing else ""
        print(f"kill {killed}/{count} after {after:.1f} s{moment}: {'same' if equal else 'DIFFERENT'}", flush=True)
    print(f"{same} of {count} resumed runs equal the unbroken one; {writing} were killed while writing a checkpoint")
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
