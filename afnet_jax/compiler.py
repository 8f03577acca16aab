"""Checks that this installation's XLA computes correctly: versions that do not have been released.

setup.cfg excludes the version known for it, but only where pip resolves versions: JAX of a cluster's modules or of
conda, and one upgraded later, come past it, and would be noticed by nothing but wrong accuracies.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from afnet_jax.errors import AFNetError

# jaxlib 0.10.2 goes wrong on a CPU beyond 32,768 rows of three, and not with rows of eight.
_ROWS, _WIDTH = 40_000, 3


def check_compiler() -> None:
    """Compiles a small program that a released jaxlib got wrong, and compares with NumPy. Takes under a second.

    Raises:
        AFNetError: the compiled program is wrong, so no result of this installation can be trusted.
    """
    draw = np.random.RandomState(0)
    matrix = draw.randn(_WIDTH, _WIDTH).astype(np.float32)
    rows = draw.randn(_ROWS, _WIDTH).astype(np.float32)
    # At highest precision, for a GPU's matmuls are coarser by default and not wrong.
    compiled = jax.jit(jax.vmap(lambda row: jnp.sum(jnp.matmul(jnp.asarray(matrix), row, precision="highest") ** 2)))
    expected = ((rows.astype(np.float64) @ matrix.T.astype(np.float64)) ** 2).sum(axis=1)
    wrong = int((~np.isclose(np.asarray(compiled(rows)), expected, rtol=1e-3, atol=1e-3)).sum())
    if wrong:
        raise AFNetError(
            f"jaxlib {jax.lib.__version__} computes wrong results on {jax.default_backend()}: expected {_ROWS} right "
            f"sums of a compiled program, found {wrong} wrong: install another version (0.10.2 is known for it)"
        )
