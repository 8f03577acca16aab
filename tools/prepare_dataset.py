"""Raw scans of a database -> the tfds data set that training reads.

    python tools/prepare_dataset.py --database=bu3dfe --raw=BU_3DFE --data_dir=data

Run again after an interruption, it goes on where it stopped. Scans that cannot be used are left out and listed in
rejected.csv (scan, file, reason) in data_dir; then it exits with 1, and the rest is ready to use.
"""

from __future__ import annotations

import argparse
import sys

from afnet_jax.command_line import positive, report_faults
from afnet_jax.datasets.preparation import REJECTED, prepare
from afnet_jax.scans.databases import DATABASES, OWN


def _main(given: argparse.Namespace) -> int:
    done = prepare(given.database, given.raw, given.data_dir, given.workers, reader=given.reader)
    print(f"{done.prepared} scans in {done.folder}")
    if not done.rejected:
        return 0
    first = done.rejected[0]
    total = done.prepared + len(done.rejected)
    listed = f"{len(done.rejected)} of {total} scans left out, see {REJECTED} in {given.data_dir}"
    print(f"error: {listed}; the first: {first.file}: {first.reason}", file=sys.stderr)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--database",
        required=True,
        choices=sorted([*DATABASES, OWN]),
        help="whose files; own: by --reader",
    )
    parser.add_argument("--raw", required=True, help="folder of the raw database, subjects' folders at any depth")
    parser.add_argument("--data_dir", required=True, help="folder of prepared data sets; made if need be")
    parser.add_argument("--reader", help="Python file that reads scans of your own, for --database=own")
    parser.add_argument("--workers", type=positive, help="processes (default: one per core)")
    given = parser.parse_args()
    return report_faults(lambda: _main(given))


if __name__ == "__main__":
    sys.exit(main())
