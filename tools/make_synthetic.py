"""Raw files of synthetic subjects; the same as `afnet synthetic`."""

import sys

from afnet_jax.commands.synthetic import main

if __name__ == "__main__":
    sys.exit(main())
