"""Every variant of the paper, then its tables and figures; the same as `afnet reproduce`."""

import sys

from afnet_jax.commands.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
