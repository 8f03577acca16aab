"""Raw scans -> probabilities of the six expressions; the same as `afnet predict`."""

import sys

from afnet_jax.commands.predict import main

if __name__ == "__main__":
    sys.exit(main())
