"""Prepares raw scans of a database: writes the tfds data set that training reads.

    afnet prepare --database=bu3dfe --raw=BU_3DFE --data_dir=data

Run again after an interruption, it goes on where it stopped. A database that lies in several folders is prepared one
by one into the same data_dir: scans of other folders stay, those of the same name are replaced. Scans that cannot be
used are left out and listed in rejected.csv (scan, file, reason, database) in data_dir; then it exits with 1, and the
rest is ready to use.
"""

from __future__ import annotations

import argparse
import sys

from afnet_jax.commands.command_line import command_parser, positive, report_faults
from afnet_jax.datasets.preparation import prepare
from afnet_jax.datasets.rejected import REJECTED
from afnet_jax.errors import DatasetError
from afnet_jax.preprocessing.choice import CHOICES
from afnet_jax.scans.databases import DATABASES, check_database
from afnet_jax.scans.naming import NamingRule


def _main(given: argparse.Namespace) -> int:
    preprocess = CHOICES[given.landmarks]
    done = prepare(given.database, given.raw, given.data_dir, given.workers, preprocess, given.reader, given.naming)
    kept = f", {done.kept} of them prepared before from other folders" if done.kept else ""
    print(f"{done.prepared + done.kept} scans in {done.folder}{kept}")
    for reason, count in done.left_out.items():
        print(f"left out: {count} {reason}")
    for remark, names in done.remarks.items():
        print(f"warning: {len(names)} scans, the first {names[0]}: {remark}", file=sys.stderr)
    if not done.rejected:
        return 0
    first = done.rejected[0]
    total = done.prepared + len(done.rejected)
    listed = f"{len(done.rejected)} of {total} scans left out, see {REJECTED} in {given.data_dir}"
    print(f"error: {listed}; the first: {first.file}: {first.reason}", file=sys.stderr)
    return 1


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument(
        "--database",
        required=True,
        metavar="NAME",
        help=f"whose files: {', '.join(sorted(DATABASES))}; with --naming or --reader a name of your own, such as frgc",
    )
    parser.add_argument(
        "--raw", required=True, metavar="DIR", help="folder of the raw database, subjects' folders at any depth"
    )
    parser.add_argument(
        "--data_dir", required=True, metavar="DIR", help="folder of prepared data sets; made if need be"
    )
    own = parser.add_mutually_exclusive_group()
    own.add_argument("--naming", metavar="RULE", help="how your own meshes are named: {subject}_{expression}.obj, say")
    own.add_argument("--reader", metavar="FILE.py", help="Python file that reads scans of your own (docs/own_data.md)")
    parser.add_argument(
        "--landmarks",
        choices=tuple(CHOICES),
        default="auto",
        help="auto: found on scans that have none; given: such scans are rejected; found: on every scan",
    )
    parser.add_argument("--workers", type=positive, metavar="N", help="processes (default: one per core)")
    given = parser.parse_args()
    try:
        check_database(given.database, has_reader=given.reader is not None or given.naming is not None)
        if given.naming is not None:
            NamingRule(given.naming)
    except DatasetError as error:
        parser.error(str(error))
    return report_faults(lambda: _main(given))
