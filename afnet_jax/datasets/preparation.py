"""Raw scans -> tfds data set: scan by scan in parallel, bad scans listed, interruptions survived."""

from __future__ import annotations

import concurrent.futures
import contextlib
import csv
import dataclasses
import functools
import hashlib
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import threadpoolctl
from tqdm import tqdm

import afnet_jax.preprocessing
import afnet_jax.scans
from afnet_jax.datasets import digests
from afnet_jax.datasets.records import VERSION, being_prepared, lock_file, record_of, save_record
from afnet_jax.errors import AFNetError, DatasetError
from afnet_jax.file_lock import write_lock
from afnet_jax.machine import usable_cores
from afnet_jax.preprocessing import preprocess
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.scans import Scan, ScanError, ScanId, find_scans, read_scan
from afnet_jax.scans.databases import DATABASES, OWN, use_reader

REJECTED = "rejected.csv"


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A scan that could not be prepared, the file at fault and why."""

    scan: str
    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What became of a database's scans.

    Attributes:
        folder: the tfds data set.
        prepared: how many scans it holds.
        rejected: the others.
    """

    folder: Path
    prepared: int
    rejected: tuple[Rejection, ...]


@dataclasses.dataclass(frozen=True)
class _Job:
    """One scan to be prepared, and the file that will hold its record."""

    id: ScanId
    path: Path
    target: Path


def prepare(
    database: str,
    raw: str | Path,
    data_dir: str | Path,
    workers: int | None = None,
    preprocess: Callable[[Scan], FaceMaps] = preprocess,
    reader: str | Path | None = None,
) -> Preparation:
    """Prepares the protocol's scans of a raw database as the tfds data set data_dir/<database>.

    Each finished scan is kept on disk at once, so that a second call goes on where an interrupted one stopped, and
    does only what is new, changed or repaired. Scans that cannot be used are listed in data_dir/rejected.csv. While
    another process prepares the same data set, this one waits, and then takes what is there.

    Args:
        database: "bu3dfe", "bosphorus", "synthetic", or "own" with a reader.
        raw: folder of the raw database.
        data_dir: where data sets go; made if need be.
        workers: processes, by default one per core that this process may use.
        preprocess: what makes face maps of a scan; importable by name.
        reader: Python file that reads scans of one's own, see `afnet_jax.scans.databases.use_reader`.

    Raises:
        ScanError: the raw folder is missing or holds no such scans.
        DatasetError: not one scan could be prepared, or a worker was killed.
    """
    if (database == OWN) != (reader is not None):
        raise DatasetError(f"--database={database}: --reader=FILE belongs to --database=own, and to no other")
    if reader:
        use_reader(reader)
    data_dir = Path(data_dir)
    finished = data_dir / ".finished" / database
    final = data_dir / database / VERSION
    code = f"{_code_digest(reader)} {preprocess.__module__}.{preprocess.__qualname__}"
    jobs = [_job(scan_id, path, finished, code) for scan_id, path in find_scans(database, raw)]
    source = hashlib.sha256("".join(job.target.name for job in jobs).encode()).hexdigest()
    if _is_made_from(source, final):
        return Preparation(final, len(jobs), ())
    with write_lock(lock_file(data_dir, database), being_prepared(data_dir, database)):
        if _is_made_from(source, final):  # by the process that was waited for
            return Preparation(final, len(jobs), ())
        finished.mkdir(parents=True, exist_ok=True)
        rejected = _finish_all(jobs, workers or usable_cores(), preprocess, reader)
        _write_rejected(data_dir / REJECTED, rejected)
        if len(rejected) == len(jobs):
            raise DatasetError(f"{raw}: none of the {len(jobs)} scans could be prepared; see {data_dir / REJECTED}")
        _remove_others(finished, {job.target for job in jobs})
        _write(database, finished, final, source if not rejected else "incomplete")
        if not rejected:
            shutil.rmtree(finished)
            with contextlib.suppress(OSError):  # another database's scans may still wait there
                finished.parent.rmdir()
    return Preparation(final, len(jobs) - len(rejected), tuple(rejected))


def _job(scan_id: ScanId, path: Path, finished: Path, code: str) -> _Job:
    """The record's name tells what it is made from, so that one that exists is one that is still right."""
    files = [path.with_suffix(suffix) for suffix in DATABASES[scan_id.database].SUFFIXES]
    stamps = [(file.name, (status := file.stat()).st_size, status.st_mtime_ns) for file in files if file.exists()]
    key = hashlib.sha256(f"{code} {path} {stamps}".encode()).hexdigest()[:16]
    return _Job(scan_id, path, finished / f"{scan_id.name}-{key}.npz")


@functools.cache
def _code_digest(reader: str | Path | None) -> str:
    """Of the code that makes a record: finished scans of another version are not to be mixed in."""
    folders = [Path(package.__path__[0]) for package in (afnet_jax.scans, afnet_jax.preprocessing)]
    files = [file for folder in folders for file in sorted(folder.glob("*.py"))]
    files.append(Path(__file__).with_name("records.py"))
    files += [Path(reader)] if reader else []
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _is_made_from(source: str, final: Path) -> bool:
    try:
        digests.verify(final)
        return digests.read_source(final) == source
    except DatasetError:
        return False


def _finish_all(
    jobs: list[_Job], workers: int, preprocess: Callable[[Scan], FaceMaps], reader: str | Path | None
) -> list[Rejection]:
    """Prepares what is not finished yet; gives the scans that could not be, in the order of the jobs."""
    open_jobs = [job for job in jobs if not job.target.exists()]
    rejected = {}
    progress = tqdm(total=len(jobs), initial=len(jobs) - len(open_jobs), desc="preparing scans", unit="scan")
    with progress, _workers(min(workers, len(open_jobs) or 1), reader) as executor:
        futures = {executor.submit(_finish, job, preprocess): job for job in open_jobs}
        for future in concurrent.futures.as_completed(futures):
            if rejection := future.result():
                rejected[futures[future].id.name] = rejection
                progress.set_postfix(rejected=len(rejected))
            progress.update()
    return [rejected[job.id.name] for job in jobs if job.id.name in rejected]


@contextlib.contextmanager
def _workers(count: int, reader: str | Path | None) -> Iterator[concurrent.futures.Executor]:
    # Spawned, not forked: the parent may hold threads of its own (JAX, BLAS), which a fork would freeze.
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(count, context, initializer=_start_worker, initargs=(reader,))
    try:
        yield executor
    except BrokenProcessPool:
        fault = "a worker process was killed, perhaps for want of memory"
        raise DatasetError(f"{fault}; run again with fewer --workers: it goes on where it stopped") from None
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker(reader: str | Path | None) -> None:
    if reader:
        use_reader(reader)
    # Each worker has one core: BLAS threads on top would only stand in each other's way.
    threadpoolctl.threadpool_limits(1)
    # Ctrl-C reaches every process of a terminal; the parent alone answers it, and the scan at hand is finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that was killed cannot say goodbye: its workers would wait for work for ever.
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    parent.join()
    os._exit(1)


def _finish(job: _Job, preprocess: Callable[[Scan], FaceMaps]) -> Rejection | None:
    try:
        save_record(record_of(preprocess(read_scan(job.path, job.id.database))), job.target)
    except ScanError as error:
        return Rejection(job.id.name, str(error.path), error.fault)
    except AFNetError as error:
        return Rejection(job.id.name, str(job.path), str(error))
    except OSError:
        raise  # a full disk is no fault of the scan
    except Exception as error:  # a bug of ours must not cost the other scans
        return Rejection(job.id.name, str(job.path), f"unexpected {type(error).__name__}: {error}")
    return None


def _write_rejected(path: Path, rejected: list[Rejection]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in dataclasses.fields(Rejection))
        writer.writerows(dataclasses.astuple(rejection) for rejection in rejected)


def _remove_others(finished: Path, wanted: set[Path]) -> None:
    for path in finished.iterdir():
        if path not in wanted:
            path.unlink()


def _write(database: str, finished: Path, final: Path, source: str) -> None:
    """Writes the data set aside and moves it into place, digests and all: it is there whole or not at all."""
    from afnet_jax.datasets.builder import write_dataset  # here: the workers, who import this module, need no tfds

    aside = finished.with_name(f"{database}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    written = write_dataset(database, finished, aside)
    digests.write_digests(written, source)
    shutil.rmtree(final, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.replace(written, final)
    shutil.rmtree(aside)
