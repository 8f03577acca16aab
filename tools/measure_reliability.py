"""Measures what a run survives; the same as `python -m benchmarks.measure_reliability`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where benchmarks/ stands

from benchmarks.measure_reliability import main

if __name__ == "__main__":
    sys.exit(main())
