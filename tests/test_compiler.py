"""A right compiler passes; one that is made wrong is named."""

import jax
import jax.numpy as jnp
import pytest

from afnet_jax.compiler import check_compiler
from afnet_jax.errors import AFNetError


def test_this_compiler_is_right():
    check_compiler()


def test_a_wrong_compiler_is_named_in_one_line(monkeypatch):
    def wrong_jit(function):
        return lambda rows: function(rows).at[32_768:].set(jnp.float32(0))

    monkeypatch.setattr(jax, "jit", wrong_jit)
    with pytest.raises(AFNetError, match="found 7232 wrong: install another version") as refused:
        check_compiler()
    assert "\n" not in str(refused.value)
