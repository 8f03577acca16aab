"""Damaged files for the readers; the same as `python -m benchmarks.fuzz_readers`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where benchmarks/ stands

from benchmarks.fuzz_readers import main

if __name__ == "__main__":
    sys.exit(main())
