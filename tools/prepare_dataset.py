"""Raw scans of a database -> the tfds data set that training reads; the same as `afnet prepare`."""

import sys

from afnet_jax.commands.prepare import main

if __name__ == "__main__":
    sys.exit(main())
