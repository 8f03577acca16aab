"""Raw scans of a database -> the tfds data set that training reads.

    python tools/prepare_dataset.py --database=bu3dfe --raw=BU_3DFE --data_dir=data

Run again after an interruption, it goes on where it stopped. Scans that cannot be used are left out and listed in
rejected.csv (scan, file, reason) in data_dir; then it exits with 1, and the rest is ready to use.
"""

from __future__ import annotations

import argparse
import sys

from afnet_jax.datasets.preparation import REJECTED, prepare
from afnet_jax.errors import AFNetError
from afnet_jax.scans.databases import DATABASES, OWN


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, choices=sorted([*DATABASES, OWN]))
    parser.add_argument("--raw", required=True, help="folder of the raw database, subjects' folders at any depth")
    parser.add_argument("--data_dir", required=True, help="folder of prepared data sets; made if need be")
    parser.add_argument("--reader", help="Python file that reads scans of your own, for --database=own")
    parser.add_argument("--workers", type=positive, help="processes (default: one per core)")
    arguments = parser.parse_args()
    try:
        done = prepare(
            arguments.database, arguments.raw, arguments.data_dir, arguments.workers, reader=arguments.reader
        )
    except (AFNetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; run again, it goes on where it stopped", file=sys.stderr)
        return 1
    print(f"{done.prepared} scans in {done.folder}")
    if done.rejected:
        first = done.rejected[0]
        total = done.prepared + len(done.rejected)
        listed = f"{len(done.rejected)} of {total} scans left out, see {REJECTED} in {arguments.data_dir}"
        print(f"error: {listed}; the first: {first.file}: {first.reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
