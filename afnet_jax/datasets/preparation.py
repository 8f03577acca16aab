"""Raw scans -> tfds data set: scan by scan in parallel, bad scans listed, interruptions survived."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import inspect
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from afnet_jax.atomic_files import write_arrays_atomically
from afnet_jax.datasets import digests, records
from afnet_jax.datasets.code_digest import code_digest
from afnet_jax.datasets.records import EARLIER, VERSION, being_prepared, dataset_folder, lock_file, record_of
from afnet_jax.datasets.rejected import REJECTED, Rejection, read_rejected, write_rejected
from afnet_jax.datasets.sources import Source, Sources, extract, read_sources, scans_to_keep, write_sources
from afnet_jax.errors import AFNetError, DatasetError, in_one_line
from afnet_jax.file_lock import write_lock
from afnet_jax.machine import usable_cores
from afnet_jax.paths import user_path
from afnet_jax.preprocessing import preprocess
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.scans import Scan, ScanError, ScanId
from afnet_jax.scans.arrays import with_remarks
from afnet_jax.scans.database import Database
from afnet_jax.scans.databases import database_of
from afnet_jax.scans.raw_folder import survey_scans
from afnet_jax.sha256 import digest_of
from afnet_jax.workers import worker_processes


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Result of preparing a database.

    Attributes:
        folder: the tfds data set.
        prepared: how many of the raw folder's scans it holds.
        rejected: those that could not be prepared.
        kept: how many scans of other raw folders it holds.
        left_out: why others were not even tried (neutral faces, say) -> how many.
        remarks: what looked odd -> names of the scans.
    """

    folder: Path
    prepared: int
    rejected: tuple[Rejection, ...]
    kept: int = 0
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
    remarks: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


class _Job(NamedTuple):
    """One scan to be prepared, what it is made from, and the folder of finished scans."""

    id: ScanId
    path: Path
    source: Source
    finished: Path

    @property
    def target(self) -> Path:
        """The file that will hold its record; made when asked for, since a path takes half a kilobyte of memory."""
        return self.source.finished(self.finished, self.id.name)


class _Outcome(NamedTuple):
    """Result for one scan: the reason if it was rejected."""

    rejection: Rejection | None


def prepare(
    database: str,
    raw: str | Path,
    data_dir: str | Path,
    workers: int | None = None,
    preprocess: Callable[[Scan], FaceMaps] = preprocess,
    reader: str | Path | None = None,
    naming: str | None = None,
) -> Preparation:
    """Prepares the labelled scans of a raw folder as the tfds data set data_dir/<database>, or as a part of it.

    Each finished scan is kept on disk at once, so that a second call goes on where an interrupted one stopped, and
    does only what is new, changed or repaired. Scans of other raw folders that the data set holds stay in it; one of
    the same name is replaced. Scans that cannot be used are listed in data_dir/rejected.csv. While another process
    prepares the same data set, this one waits, and then takes what is there.

    Args:
        database: a name of `scans.databases.DATABASES` or, with a reader or a naming rule, one of the user's own.
        raw: folder of the raw database, or of a part of it.
        data_dir: where data sets go; made if need be.
        workers: processes, by default one per core that this process may use.
        preprocess: what makes face maps of a scan; importable by name.
        reader: Python file that reads scans of one's own, see docs/own_data.md.
        naming: how one's own meshes are named (`NamingRule`), in place of a reader.

    Raises:
        ScanError: the raw folder is missing or holds no such scans.
        AFNetError: an unknown database, not one scan could be prepared, a worker process was killed, or the data set
            holds scans of other folders that are damaged or of another version.
    """
    raw, data_dir = user_path(raw), user_path(data_dir)
    reader = user_path(reader).absolute() if reader else None
    source = database_of(database, reader, naming)
    survey = survey_scans(source, raw)
    place, code = str(raw.resolve()), _code_digest(preprocess, source)
    finished = data_dir / ".finished" / database
    make_job = functools.partial(_job, raw=place, files_of=source.files_of, finished=finished, code=code)
    jobs = [make_job(scan_id, path) for scan_id, path in survey.scans]
    with write_lock(lock_file(data_dir, database), being_prepared(data_dir, database)):
        _put_back(_set_aside(finished), final := data_dir / database / VERSION)
        before = read_sources(there := dataset_folder(data_dir, database))
        kept = scans_to_keep(before, there, place, code, [job.id.name for job in jobs])
        if _is_made_from(Sources(code, kept | {job.id.name: job.source for job in jobs}), final):
            _list_rejected(data_dir, jobs, raw, [])
            _remove(finished)
            return Preparation(final, len(jobs), (), len(kept), survey.left_out, _remarks(final, jobs))
        finished.mkdir(parents=True, exist_ok=True)
        _take_unchanged(final, jobs, before, finished)
        make_record = functools.partial(_finish, preprocess=preprocess, reader=reader, naming=naming)
        outcomes = _finish_all(jobs, workers or usable_cores(), make_record)
        rejected = [each.rejection for each in outcomes.values() if each.rejection]
        _list_rejected(data_dir, jobs, raw, rejected)
        fit = {job.id.name: job.source for job in jobs if job.target.exists()}
        # A scan that is rejected now leaves one of the same name from another folder where it is.
        kept = scans_to_keep(before, there, place, code, fit) if before.code == code else {}
        extract(there, kept, finished)
        _write(source, finished, final, Sources(code, kept | fit))
        if not rejected:
            _remove(finished)
    return Preparation(final, len(fit), tuple(rejected), len(kept), survey.left_out, _remarks(final, jobs))


def _take_unchanged(final: Path, jobs: list[_Job], before: Sources, finished: Path) -> None:
    """Takes from the data set what was made of the same files by the same code."""
    unchanged = {job.id.name: job.source for job in jobs if before.scans.get(job.id.name) == job.source}
    with contextlib.suppress(DatasetError):  # there is none, or a damaged one: its scans are prepared again
        digests.verify(final)
        extract(final, unchanged, finished)


def _remove(finished: Path) -> None:
    shutil.rmtree(finished, ignore_errors=True)  # it may not be there
    with contextlib.suppress(OSError):  # another database's scans may still wait there
        finished.parent.rmdir()


def _job(
    scan_id: ScanId, path: Path, *, raw: str, files_of: Callable[[Path], list[Path]], finished: Path, code: str
) -> _Job:
    """The record's name tells what it is made from, so that one that exists is one that is still right."""
    stamps = [(file.name, (status := file.stat()).st_size, status.st_mtime_ns) for file in files_of(path)]
    key = digest_of(f"{code} {path.absolute()} {stamps} {scan_id}")[:16]
    return _Job(scan_id, path, Source(raw, key), finished)


def _code_digest(preprocess: Callable[[Scan], FaceMaps], database: Database) -> str:
    """Tells the code that makes a database's records: those of other code are not to be mixed in."""
    modules = (inspect.getmodule(preprocess), records, inspect.getmodule(Database), database.reader)
    digest = code_digest(Path(str(module.__file__)) for module in modules if module)
    return f"{digest} {preprocess.__module__}.{preprocess.__qualname__}"


def _list_rejected(data_dir: Path, jobs: list[_Job], raw: Path, rejected: list[Rejection]) -> None:
    """Brings rejected.csv up to date, which all data sets of the folder share; a fault where all are rejected."""
    path = data_dir / REJECTED
    with write_lock(data_dir / f".{REJECTED}.lock", f"{path}: being written"):
        listed = read_rejected(path)
        if listed is not None or rejected or not (data_dir / jobs[0].id.database / VERSION).exists():
            write_rejected(path, [*_of_others(listed or (), jobs, raw), *rejected])
    if len(rejected) == len(jobs):
        raise DatasetError(f"{raw}: none of the {len(jobs)} scans could be prepared; see {path}")


def _of_others(listed: Sequence[Rejection], jobs: list[_Job], raw: Path) -> list[Rejection]:
    """The entries of a list of rejected scans that are none of these jobs' and lie in another raw folder."""
    names = {(job.id.database, job.id.name) for job in jobs}
    return [
        each
        for each in listed
        if (each.database, each.scan) not in names
        and not (each.database in (jobs[0].id.database, "") and Path(each.file).resolve().is_relative_to(raw.resolve()))
    ]


def _remarks(final: Path, jobs: list[_Job]) -> dict[str, list[str]]:
    """Remarks on these jobs' scans -> their names; from the data set, as earlier calls may have finished many."""
    from afnet_jax.datasets.builder import open_records  # here: the workers, who import this module, need no tfds

    ours, names = {job.id.name for job in jobs}, dict[str, list[str]]()
    for record in open_records(final, ("scan_id", "quality")):
        if (name := record["scan_id"].decode()) in ours:
            for remark in json.loads(record["quality"]).get("remarks", ()):
                names.setdefault(remark, []).append(name)
    return names


def _is_made_from(sources: Sources, final: Path) -> bool:
    try:
        digests.verify(final)
        return digests.read_source(final) == sources.digest
    except DatasetError:
        return False


def _finish_all(jobs: list[_Job], workers: int, make_record: Callable[[_Job], _Outcome]) -> dict[str, _Outcome]:
    """Prepares what is not finished yet; returns the outcomes by scan name, in the order of the jobs."""
    open_jobs = [job for job in jobs if not job.target.exists()]
    outcomes: dict[str, _Outcome] = {}
    progress = tqdm(total=len(jobs), initial=len(jobs) - len(open_jobs), desc="preparing scans", unit="scan")
    with progress, worker_processes(min(workers, len(open_jobs) or 1)) as executor:
        rejected = 0
        for job, outcome in _in_parallel(executor, make_record, open_jobs, most=4 * workers):
            outcomes[job.id.name] = outcome
            rejected += outcome.rejection is not None
            progress.set_postfix(rejected=rejected)
            progress.update()
    return {job.id.name: outcomes[job.id.name] for job in open_jobs}


def _in_parallel(
    executor: concurrent.futures.Executor, make_record: Callable[[_Job], _Outcome], jobs: Sequence[_Job], most: int
) -> Iterator[tuple[_Job, _Outcome]]:
    """Yields jobs and their outcomes as they are done; at most so many wait for a worker, since each takes memory."""
    waiting: dict[concurrent.futures.Future, _Job] = {}
    coming = iter(jobs)
    while True:
        waiting |= {executor.submit(make_record, job): job for job in itertools.islice(coming, most - len(waiting))}
        if not waiting:
            return
        for future in concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED).done:
            yield waiting.pop(future), future.result()


_database_of_worker = functools.cache(database_of)  # a worker runs the user's reader once, not for every scan


def _finish(job: _Job, *, preprocess: Callable[[Scan], FaceMaps], reader: Path | None, naming: str | None) -> _Outcome:
    try:
        scan = _database_of_worker(job.id.database, reader, naming).read_scan(job.path)
        if scan.id.name != job.id.name:
            raise ScanError(job.path, f"read_scan names it {scan.id.name!r}, scan_id {job.id.name!r}: make them agree")
        try:
            maps = preprocess(scan)
        except ScanError as error:
            raise with_remarks(error, scan) from None
        write_arrays_atomically(job.target, record_of(maps))
    except ScanError as error:
        return _rejected(job, error.fault, error.path)
    except AFNetError as error:
        return _rejected(job, str(error))
    except OSError:
        raise  # a full disk is no fault of the scan
    except (Exception, SystemExit) as error:  # a bug of ours must not cost the other scans
        return _rejected(job, f"unexpected {in_one_line(error)}")
    return _Outcome(None)


def _rejected(job: _Job, reason: str, file: Path | None = None) -> _Outcome:
    return _Outcome(Rejection(job.id.name, str(file or job.path), " ".join(reason.split()), job.id.database))


def _write(database: Database, finished: Path, final: Path, sources: Sources) -> None:
    """Writes the data set aside and moves it into place, digests and all: it is there whole or not at all."""
    from afnet_jax.datasets.builder import write_dataset  # here: the workers, who import this module, need no tfds

    wanted = {source.finished(finished, name).name for name, source in sources.scans.items()}
    for path in finished.iterdir():
        if path.name not in wanted and not path.is_dir():
            path.unlink()
    aside = finished.with_name(f"{database.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    written = write_dataset(database, finished, aside)
    write_sources(written, sources)
    digests.write_digests(written, sources.digest)
    before = _set_aside(finished)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():  # renamed, since removing takes a while, in which the set would be neither old nor new
        os.replace(final, before)
    os.replace(written, final)
    shutil.rmtree(before, ignore_errors=True)
    for version in EARLIER:
        shutil.rmtree(final.with_name(version), ignore_errors=True)
    shutil.rmtree(aside)


def _set_aside(finished: Path) -> Path:
    """Returns where a data set lies while it is being replaced."""
    return finished.with_name(f"{finished.name}.before")


def _put_back(before: Path, final: Path) -> None:
    """Ends a replacement that was interrupted: the old set is there again, unless the new one is."""
    if before.exists() and not final.exists():
        os.replace(before, final)
    shutil.rmtree(before, ignore_errors=True)
