"""Every compiled program, traced and lowered for a CPU and for a GPU on whatever machine this is."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from afnet_jax.models.network import Network
from afnet_jax.training.devices import steps_per_dispatch
from benchmarks.programs import PROGRAMS, Shape, make_program
from tests.support.small_training import make_config

# At 64 px stages 3 and 4 are 4×4 and 2×2 pixels, which a CPU computes by matmuls and a GPU does not.
SIZE = 64
BATCH = 4
CONVOLUTIONS, ON_FEW_PIXELS = 17, 8  # of a trunk, 1×1 shortcuts apart; the last with 16 outputs or fewer
NETWORKS = {"bfloat16": ("afnet", 2), "float32": ("texture", 1)}  # variant and its trunks: half the work for one dtype
CASES = [(name, dtype, 2) for name in PROGRAMS for dtype in ("bfloat16", "float32")] + [("evaluate", "bfloat16", 1)]


@pytest.fixture(autouse=True)
def _nobody_asks_where_this_runs(monkeypatch):
    def asked():
        raise AssertionError("what is traced must not depend on the machine that traces it")

    monkeypatch.setattr(jax, "default_backend", asked)


@functools.cache
def traced(name, platform, dtype, folds):
    function, arguments = make_program(
        name,
        Shape(platform, folds=folds, image_size=SIZE, dtype=dtype, batch=BATCH, steps=2, variant=NETWORKS[dtype][0]),
    )
    return function.trace(*arguments)


@functools.cache
def lowered(name, platform, dtype, folds):
    return traced(name, platform, dtype, folds).lower(lowering_platforms=(platform,)).as_text()


def convolutions(text):
    return len(re.findall(r"stablehlo\.convolution\(", text))


def strided_matmuls(jaxpr, strided=None, found=None):
    """Matmuls that read a strided slice through any operations but sums, matmuls and convolutions."""
    strided, found = set() if strided is None else strided, [] if found is None else found
    for equation in jaxpr.eqns:
        reads = [not isinstance(v, Literal) and v in strided for v in equation.invars]
        name = equation.primitive.name
        if name == "dot_general" and any(reads):
            found.append(str(equation))
        within = [p for p in jax.tree.leaves(equation.params, is_leaf=_is_jaxpr) if _is_jaxpr(p)]
        if within:
            for inner in (p.jaxpr if isinstance(p, ClosedJaxpr) else p for p in within):
                # Operands come last: `cond` has its index before them.
                known = {v for v, r in zip(reversed(inner.invars), reversed(reads), strict=False) if r}
                strided_matmuls(inner, known, found)
                strided |= {
                    outer
                    for outer, v in zip(equation.outvars, inner.outvars, strict=False)
                    if not isinstance(v, Literal) and v in known
                }
        elif (name == "slice" and any(s != 1 for s in equation.params["strides"] or ())) or (
            any(reads) and not re.match("dot_general|conv_general|reduce|argmax", name)
        ):
            strided |= set(equation.outvars)
    return found


def _is_jaxpr(value):
    return isinstance(value, Jaxpr | ClosedJaxpr)


def test_a_strided_slice_before_a_matmul_is_found():
    def direct(x, w):
        return x[:, ::2, ::2] @ w

    def hidden(x, w):
        return jax.jit(lambda s: (s.astype(jnp.float32) + 1).reshape(4, 4))(x[:, ::2, ::2]) @ w

    def blocks(x, w):
        return x.reshape(1, 2, 2, 2, 2, 4)[:, :, 0, :, 0] @ w

    x, w = jnp.ones((1, 4, 4, 4)), jnp.ones((4, 4))
    for function, number in ((direct, 1), (hidden, 1), (blocks, 0)):
        assert len(strided_matmuls(jax.make_jaxpr(function)(x, w).jaxpr)) == number
        assert len(strided_matmuls(jax.make_jaxpr(jax.vmap(function))(x[None], w[None]).jaxpr)) == number
    backward = jax.make_jaxpr(jax.grad(lambda w: jnp.sin(direct(x, w)).sum()))(w).jaxpr
    assert len(strided_matmuls(backward)) == 2  # the kernel's gradient reads the slice as well


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype", "folds"), CASES)
def test_no_matmul_for_a_gpu_reads_a_strided_slice(name, dtype, folds):
    """XLA would fuse the two, and its compiler for GPUs then ends the process."""
    assert not strided_matmuls(traced(name, "cuda", dtype, folds).jaxpr.jaxpr)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype", "folds"), CASES)
def test_each_platform_has_its_own_forms_and_no_others(name, dtype, folds):
    trunks = NETWORKS[dtype][1] * (1 if name == "predict" else folds)
    here, there = (lowered(name, platform, dtype, folds) for platform in ("cpu", "cuda"))
    expected = trunks * CONVOLUTIONS, trunks * (CONVOLUTIONS - ON_FEW_PIXELS)
    if name.startswith("train"):  # and both gradients of each, but for the images
        expected = tuple(3 * number - trunks for number in expected)
        # On a CPU the gradient of the stem's kernel is taken scan by scan: 32×32 outputs are all that a part may have.
        expected = expected[0], expected[1] + trunks * (BATCH - 1)
        assert "HIGHEST" in here  # sums as products with ones
        assert ("HIGHEST" in there) == (name == "train_points")  # places, which TF32 would move by tenths of a mm
    assert (convolutions(there), convolutions(here)) == expected


@pytest.mark.slow
def test_an_exported_program_holds_both_platforms_forms():
    """One choice, outside of everything that is computed, whichever platform exports."""
    function, arguments = make_program("export", Shape("cpu", image_size=SIZE, variant="texture"))
    program = function.trace(*arguments).jaxpr.jaxpr
    assert [e.primitive.name for e in program.eqns] == ["platform_index", "cond"]
    branches = [str(branch).count(" conv_general_dilated[") for branch in program.eqns[1].params["branches"]]
    assert branches == [CONVOLUTIONS - ON_FEW_PIXELS, CONVOLUTIONS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "asked_for"), [("default", "DEFAULT"), ("tensorfloat32", "HIGH"), ("float32", "HIGHEST")]
)
def test_matmul_precision_reaches_every_product(precision, asked_for):
    shape = Shape("cuda", image_size=32, dtype="float32", batch=2, steps=1, variant="fuse_4", precision=precision)
    function, arguments = make_program("train", shape)
    text = function.trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
    products = [line for line in text.splitlines() if re.search(r"stablehlo\.(convolution|dot_general)", line)]
    assert len(products) > 2 * (3 * CONVOLUTIONS - 1)
    assert {tuple(re.findall(r"\b(?:DEFAULT|HIGH|HIGHEST)\b", line)) for line in products} == {(asked_for, asked_for)}


def test_a_gpu_takes_a_whole_epoch_and_a_cpu_a_step():
    assert steps_per_dispatch("auto", 20, "cuda") == 20 and steps_per_dispatch("auto", 20, "cpu") == 1
    assert steps_per_dispatch("6", 20, "cuda") == steps_per_dispatch("6", 20, "cpu") == 5


@pytest.mark.slow
def test_the_same_numbers_in_either_form():
    """Both run anywhere; what is for a GPU is the same network."""
    logits = []
    for platform in ("cpu", "cuda"):
        network = Network(make_config().model, platform=platform)
        maps = jax.tree.map(lambda each: np.full(each.shape, 3, each.dtype), network.map_shapes(32, 2))
        logits.append(jax.jit(network.probabilities)(*jax.jit(network.init)(jax.random.key(1)), maps))
    np.testing.assert_allclose(*logits, rtol=1e-4)
