"""The tfds data set of each database, written as array_record without TensorFlow.

`tfds.builder_from_directory(folder).as_data_source(split=SPLIT)` reads them; `tools/prepare_dataset.py` makes them.
"""

from __future__ import annotations

import contextlib
import functools
import io
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from afnet_jax.datasets.records import COLOURS_SHAPE, PICTURES, VERSION, load_record
from afnet_jax.errors import DatasetError, in_one_line
from afnet_jax.maps import IMAGE_SIZE, INPUT_MAPS, InputMap
from afnet_jax.preprocessing.point_sample import POINTS
from afnet_jax.scans.database import Database
from afnet_jax.scans.scan import EXPRESSIONS, LANDMARKS

SPLIT = "scans"  # folds are drawn later, from the protocol; tfds reserves the name "all"
SCANS_PER_SHARD = 64  # while tfds writes a file of the data set, it holds the scans of the file in memory: 20 MB


def _floats(*shape: int, dtype: type = np.float32) -> tfds.features.Tensor:
    # As bytes: a tf.Example's own list of numbers would round float64 to float32.
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.ZLIB)


def _map_feature(each: InputMap) -> tfds.features.FeatureConnector:
    shape = each.shape(IMAGE_SIZE)
    return tfds.features.Image(shape=shape, encoding_format="png") if each.dtype == "uint8" else _floats(*shape[:2])


def features() -> tfds.features.FeaturesDict:
    """The fields of one scan; maps and frames as in FaceMaps, landmarks in the order of LANDMARKS (NaN where absent).

    points, colours and centre are those of PointSample, NaN where there is no point. level is 0, ethnicity and sex are
    "" where the database has none; quality is FaceMaps.quality as JSON.
    """
    return tfds.features.FeaturesDict(
        {
            **{each.record: _map_feature(each) for each in INPUT_MAPS.values() if each.record},
            "label": tfds.features.ClassLabel(names=EXPRESSIONS),
            "scan_id": tfds.features.Text(),
            "subject": tfds.features.Text(),
            "level": tfds.features.Scalar(np.int64),
            "ethnicity": tfds.features.Text(),
            "sex": tfds.features.Text(),
            "points": _floats(POINTS, 3, dtype=np.float16),
            "colours": tfds.features.Image(shape=COLOURS_SHAPE, encoding_format="png"),
            "centre": _floats(3, dtype=np.float64),
            "landmarks": _floats(len(LANDMARKS), 3, dtype=np.float64),
            "to_scan": _floats(4, 4, dtype=np.float64),
            "origin": _floats(2, dtype=np.float64),
            "mm_per_pixel": _floats(dtype=np.float64),
            "quality": tfds.features.Text(),
        }
    )


class _LocalInfo(tfds.core.DatasetInfo):
    """Metadata that is only read from the data set's own folder."""

    def initialize_from_bucket(self) -> None:
        """Does nothing: tfds would ask its bucket on the network, and leave a temporary folder behind."""


class FaceMapsBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # no stubs
    """Aligned texture, depth and masks of the protocol's scans, one record per scan, sorted by scan_id."""

    VERSION = tfds.core.Version(VERSION)
    MANUAL_DOWNLOAD_INSTRUCTIONS = "A folder of finished scans, which tools/prepare_dataset.py makes from raw ones."

    def _info(self) -> tfds.core.DatasetInfo:
        return _LocalInfo(
            builder=self, description=self.__doc__, features=features(), supervised_keys=None, disable_shuffling=True
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable[[], Iterator[tuple[int, dict]]]]]:
        # Not tfds' builder of whole splits: it holds a split in memory until it has all of it, and from 1 GB on asks
        # for TensorFlow.
        folder = Path(dl_manager.manual_dir)
        names = sorted(path.name for path in folder.glob("*.npz"))  # a path takes five times a name's memory
        return {
            SPLIT: [
                functools.partial(_examples, first, folder, names[first : first + SCANS_PER_SHARD])
                for first in range(0, len(names), SCANS_PER_SHARD)
            ]
        }


def _examples(first: int, folder: Path, names: Sequence[str]) -> Iterator[tuple[int, dict]]:
    """Yields the finished scans of a shard with their numbers in the data set."""
    for index, name in enumerate(names, start=first):
        record = load_record(folder / name)
        plain = {field: value.item() for field, value in record.items() if value.dtype.kind in "iU"}
        yield index, record | plain | {field: io.BytesIO(record[field].tobytes()) for field in PICTURES}


def builder_of(database: Database) -> type[FaceMapsBuilder]:
    """Returns the builder of a database's data set."""
    own = {"name": database.name, "__doc__": database.description, "__module__": __name__}
    return types.new_class(
        database.name, (FaceMapsBuilder,), {"skip_registration": True}, lambda body: body.update(own)
    )


def write_dataset(database: Database, finished: Path, data_dir: Path) -> Path:
    """Writes the finished scans in a folder (.npz, see records.py) as the database's tfds data set.

    Args:
        database: whose data set.
        finished: folder of the finished scans; all of them are taken.
        data_dir: where tfds puts its data sets.

    Returns:
        The data set's own folder, data_dir/<database>/<version>.

    Raises:
        DatasetError: it cannot be written.
    """
    tfds.disable_progress_bar()
    builder = builder_of(database)(data_dir=data_dir, file_format="array_record")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # tfds announces downloads of unknown size
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=finished))
    except RuntimeError as error:  # array_record's, of a full disk
        raise DatasetError(
            f"{data_dir}: the data set cannot be written ({in_one_line(error)[:160]}); make room and run the same "
            f"command again: it goes on where it stopped"
        ) from error
    return Path(builder.data_dir)


def open_records(folder: Path, fields: Collection[str] = ()) -> Sequence[dict]:
    """Returns the records of a data set's folder, decoded as they are asked for.

    Args:
        folder: the data set.
        fields: of `features` to decode, the others stay bytes; by default all.
    """
    builder = tfds.builder_from_directory(folder)
    skipped = set(builder.info.features) - set(fields) if fields else ()  # its own: an earlier version has fewer
    decoders = dict.fromkeys(skipped, tfds.decode.SkipDecoding())
    return builder.as_data_source(split=SPLIT, decoders=decoders)


def read_records(folder: Path) -> Iterator[dict]:
    """Yields the records of a data set's folder, fields as in `features`, decoded."""
    with quiet_decoding():
        yield from open_records(folder)


@contextlib.contextmanager
def quiet_decoding() -> Iterator[None]:
    """Keeps tfds from recommending OpenCV."""
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(logging.WARNING)
