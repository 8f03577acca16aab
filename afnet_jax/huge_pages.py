"""Large pages of memory for what a step computes with."""

from __future__ import annotations

import contextlib
import os
import sys

_SETTING = "GLIBC_TUNABLES"


def start_with_huge_pages() -> None:
    """Starts this program anew, in the same process, with glibc asking Linux for huge pages.

    XLA's CPU programs take their memory afresh for each step, a few hundred MB, and Linux hands it out in pages of
    4 KiB, tens of thousands a step: 6 to 9 % of a step's time. glibc reads its setting before Python begins, hence the
    new start: nothing must have been begun yet. Does nothing elsewhere than on Linux, where the variable is set, and
    where Python's own file is unknown or cannot be started, which costs that time alone.
    """
    if sys.platform == "linux" and sys.executable and _SETTING not in os.environ:
        sys.stdout.flush()
        environment = {**os.environ, _SETTING: "glibc.malloc.hugetlb=1"}
        with contextlib.suppress(OSError):
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
