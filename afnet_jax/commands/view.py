"""Draws what the project makes of raw scans: surface, texture, depth, masks, landmarks, warnings.

    afnet view face.obj FOLDER_OF_SCANS --out=look.html

No trained run is needed. A scan that cannot be used is named on stderr with the reason, the others are drawn, and the
exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from afnet_jax.commands.command_line import command_parser, report_faults
from afnet_jax.preprocessing.choice import CHOICES

_SUFFIXES = (".html", ".png")


def _main(arguments: argparse.Namespace) -> int:
    from afnet_jax.quality.scan_view import view_scans  # not above: --help must not wait for them
    from afnet_jax.quality.scan_view_page import MOST_ROWS, check_page_file, write_views
    from afnet_jax.scans.databases import readable_databases
    from afnet_jax.scans.scan_files import find_files, refuse_overwriting

    check_page_file(arguments.out)
    databases = readable_databases(arguments.reader)
    paths = find_files(arguments.scans, databases)
    refuse_overwriting(arguments.out, paths, databases)
    views = []
    for view in tqdm(
        view_scans(paths, CHOICES[arguments.landmarks], databases), "scans", len(paths), disable=len(paths) < 2
    ):
        views.append(view)
    for view in views:
        for remark in view.remarks:
            print(f"warning: {view.path}: {remark}", file=sys.stderr)
        if view.fault:
            print(f"error: {view.path}: {view.fault}", file=sys.stderr)
    if any(view.pictures for view in views):
        path, drawn = write_views(views, arguments.out), sum(bool(view.pictures) for view in views)
        if path.suffix.lower() == ".png" and drawn > MOST_ROWS:
            print(f"warning: {path}: shows the first {MOST_ROWS} of {drawn} scans; a page shows all", file=sys.stderr)
        print(path)
    return 1 if any(view.fault for view in views) else 0


def main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument(
        "scans", nargs="+", metavar="SCAN", help="….obj .ply .glb .stl .bnt, …_F3D.wrl, or a folder of such"
    )
    parser.add_argument(
        "--out",
        default="view.html",
        metavar="FILE",
        help="page (.html) to write, or picture of at most 40 scans (.png)",
    )
    parser.add_argument(
        "--landmarks",
        choices=tuple(CHOICES),
        default="auto",
        help="auto: found on scans that have none (default); given: such scans are refused; found: on every scan",
    )
    parser.add_argument("--reader", metavar="FILE.py", help="reads scans of your own (docs/own_data.md)")
    parsed = parser.parse_args()
    if Path(parsed.out).suffix.lower() not in _SUFFIXES:
        parser.error(f"argument --out: {parsed.out!r} ends in none of {', '.join(_SUFFIXES)}")
    return report_faults(lambda: _main(parsed))
