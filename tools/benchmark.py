"""The project's speed beside its peers; the same as `python -m benchmarks`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where benchmarks/ stands

from benchmarks.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
