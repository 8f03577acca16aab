"""Shows a prepared data set: one HTML page with counts, odd scans, rejected files and pictures of every scan.

    afnet inspect --data_dir=data --out=look

The page is OUT/inspection.html and needs no other file. It shows the people scanned: the database's terms apply to it.
"""

from __future__ import annotations

import argparse

from afnet_jax.commands.command_line import command_parser, report_faults


def _main(arguments: argparse.Namespace) -> None:
    from afnet_jax.quality.inspection import inspect  # not above: --help must not wait for tfds
    from afnet_jax.quality.inspection_page import write_page

    inspection = inspect(arguments.data_dir, arguments.database)
    path = write_page(inspection, arguments.out)
    print(f"{len(inspection.scans)} scans, {len(inspection.oddities)} look odd: {path}")


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--data_dir", required=True, metavar="DIR", help="folder of prepared data sets")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the page; made if need be")
    parser.add_argument("--database", metavar="NAME", help="which data set, where the folder holds several")
    parsed = parser.parse_args()
    return report_faults(lambda: _main(parsed))
