"""Surface fitting to scattered points in John D'Errico's gridfit formulation (MATLAB File Exchange 8998).

The heights g on a grid are the least-squares solution of ``[A; λR] g = [z; 0]``: A interpolates every point from
the nodes of its cell, R holds second differences, and ``λ = smoothness·‖A‖₁/‖R‖₁`` makes the smoothness
independent of the units. The surface approximates, takes repeated points, and carries on over holes and beyond
the data, where only R speaks.

The normal equations ``(AᵀA + λ²RᵀR) g = Aᵀz`` are solved by conjugate gradients, preconditioned with one
multigrid V-cycle: the same problem set up on every second node, down to a grid small enough for Cholesky. On the
224×224 nodes of a face this is several times faster than a sparse factorisation and needs a fraction of its memory.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

INTERPOLATIONS = ("triangle", "bilinear")
REGULARIZERS = ("gradient", "laplacian")

_COARSEST = 400  # nodes at which a dense Cholesky costs less than another level
_SMOOTHING_STEPS = 4
# Chebyshev smoothing acts on [_SMOOTHED, 1] of the l1-scaled spectrum: what the next coarser grid cannot show begins
# at 1/8 for second differences apart and at 1/16 for their sum.
_SMOOTHED = 1 / 20
_MAX_ITERATIONS = 150
_UNDETERMINED = "gridfit: the points do not determine a surface: too few, or all on one line"


def gridfit(
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    xnodes: np.ndarray,
    ynodes: np.ndarray,
    smoothness: float | tuple[float, float] = 1.0,
    *,
    interpolation: str = "triangle",
    regularizer: str = "gradient",
    tolerance: float = 1e-9,
) -> np.ndarray:
    """Fits heights on the grid ynodes × xnodes to scattered points.

    Args:
        x, y, z: (N,) scattered points; those with a NaN are dropped, repeated ones are fine.
        xnodes, ynodes: strictly increasing node coordinates, (nx,) and (ny,), at least 3 each, spaced at will.
        smoothness: weight of R against A, for both axes or as (along x, along y).
        interpolation: "triangle" (each cell cut along its diagonal) or "bilinear".
        regularizer: "gradient" (second differences in x and in y as rows of their own) or "laplacian" (their sum).
        tolerance: estimated error at which the solver stops, as a fraction of the spread of z.

    Returns:
        (ny, nx) float64 heights.

    Raises:
        ValueError: where the arguments do not describe a problem with one solution.
    """
    xnodes, ynodes = _checked_nodes(xnodes, "xnodes"), _checked_nodes(ynodes, "ynodes")
    _check_options(smoothness, interpolation, regularizer)
    x, y, z = _usable_points(x, y, z, xnodes, ynodes)
    shift, spread = z.mean(), np.ptp(z) or 1.0
    z = (z - shift) / spread
    matrix, rhs, levels = _hierarchy(x, y, z, xnodes, ynodes, smoothness, interpolation, regularizer)
    guess = _nested_start(levels, rhs)
    heights, error = _conjugate_gradients(matrix, rhs[0], levels, guess, tolerance)
    if not error <= tolerance:  # wildly uneven nodes or smoothness: slower, but exact
        heights = scipy.sparse.linalg.spsolve(matrix.tocsc(), rhs[0])
    if not (np.abs(heights) < 1e9).all():
        raise ValueError(_UNDETERMINED)
    return shift + spread * heights.reshape(len(ynodes), len(xnodes))


def _checked_nodes(nodes: np.ndarray, name: str) -> np.ndarray:
    nodes = np.asarray(nodes, dtype=np.float64)
    if nodes.ndim != 1 or len(nodes) < 3 or not (np.diff(nodes) > 0).all():
        raise ValueError(f"gridfit: {name} must be at least 3 strictly increasing numbers, got shape {nodes.shape}")
    return nodes


def _check_options(smoothness: float | tuple[float, float], interpolation: str, regularizer: str) -> None:
    weights = np.atleast_1d(np.asarray(smoothness, dtype=np.float64))
    if weights.shape not in ((1,), (2,)) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"gridfit: smoothness must be one positive number or a pair (x, y), got {smoothness!r}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"gridfit: interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}")
    if regularizer not in REGULARIZERS:
        raise ValueError(f"gridfit: regularizer must be one of {REGULARIZERS}, got {regularizer!r}")


def _usable_points(x, y, z, xnodes, ynodes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points = [np.asarray(values, dtype=np.float64).ravel() for values in (x, y, z)]
    if len({len(values) for values in points}) != 1:
        raise ValueError(f"gridfit: x, y, z must be of one length, got {[len(values) for values in points]}")
    x, y, z = (values[np.isfinite(points).all(axis=0)] for values in points)
    inside = (x >= xnodes[0]) & (x <= xnodes[-1]) & (y >= ynodes[0]) & (y <= ynodes[-1])
    if not inside.all():
        warnings.warn(f"gridfit: {np.sum(~inside)} of {len(x)} points outside the nodes ignored", stacklevel=3)
    if inside.sum() < 3:
        raise ValueError(f"gridfit: at least 3 finite points inside the nodes needed, got {inside.sum()}")
    return x[inside], y[inside], z[inside]


@dataclasses.dataclass(frozen=True)
class _Level:
    """One grid of the multigrid hierarchy, and the way to the next coarser one; all float32.

    Attributes:
        shape: (ny, nx).
        matrix: (ny·nx, ny·nx) AᵀA + λ²RᵀR.
        jacobi: (ny·nx,) reciprocal absolute row sums: scaled by them, the matrix has its spectrum in (0, 1].
        prolong_x, prolong_y: 1-D interpolation from the coarser nodes; None on the coarsest level.
        factor: Cholesky factor on the coarsest level, else None.
    """

    shape: tuple[int, int]
    matrix: scipy.sparse.dia_array
    jacobi: np.ndarray
    prolong_x: scipy.sparse.csr_array | None
    prolong_y: scipy.sparse.csr_array | None
    factor: tuple | None

    def prolong(self, coarse: np.ndarray) -> np.ndarray:
        assert self.prolong_x is not None and self.prolong_y is not None  # no level lies below the coarsest
        grid = coarse.reshape(self.prolong_y.shape[1], self.prolong_x.shape[1])
        return (self.prolong_x @ (self.prolong_y @ grid).T).T.ravel()

    def restrict(self, fine: np.ndarray) -> np.ndarray:
        assert self.prolong_x is not None and self.prolong_y is not None
        return (self.prolong_x.T @ (self.prolong_y.T @ fine.reshape(self.shape)).T).T.ravel()


def _hierarchy(x, y, z, xnodes, ynodes, smoothness, interpolation, regularizer):
    """The normal equations on the nodes, and the levels: the problem on the nodes, on every second of them, and so on.

    Returns:
        matrix of the finest grid in float64, right-hand sides of all levels, levels.
    """
    x_scale, y_scale = np.diff(xnodes).mean(), np.diff(ynodes).mean()
    x_index, y_index = np.arange(len(xnodes)), np.arange(len(ynodes))  # of the nodes kept, among the finest
    column = np.minimum(np.searchsorted(xnodes, x, side="right") - 1, len(xnodes) - 2)
    row = np.minimum(np.searchsorted(ynodes, y, side="right") - 1, len(ynodes) - 2)
    finest, strength, sides, levels = None, None, [], []
    while True:
        x_kept, y_kept = xnodes[x_index], ynodes[y_index]
        data, rhs, column_sum = _data_term(x, y, z, column, row, x_kept, y_kept, interpolation)
        x_diff, y_diff = _second_differences(x_kept / x_scale), _second_differences(y_kept / y_scale)
        if strength is None:
            strength = _regularizer_strength(x_diff, y_diff, smoothness, column_sum)
        weights = _rows_represented(x_index), _rows_represented(y_index)
        stencil = _regularizer_term(x_diff * strength[0], y_diff * strength[1], *weights, regularizer)
        for offset, values in data.items():
            stencil[offset] = stencil[offset] + values if offset in stencil else values
        matrix = _as_matrix(stencil, len(x_kept))
        finest = matrix if finest is None else finest
        sides.append(rhs)
        levels.append(_level(stencil, matrix, x_kept, y_kept))
        if levels[-1].factor is not None:
            return finest, sides, levels
        x_index, y_index = x_index[_kept(len(x_index))], y_index[_kept(len(y_index))]
        column, row = np.minimum(column // 2, len(x_index) - 2), np.minimum(row // 2, len(y_index) - 2)


def _level(stencil: dict, matrix: scipy.sparse.dia_array, xnodes: np.ndarray, ynodes: np.ndarray) -> _Level:
    """The level of a grid: the coarsest one, where its equations are few enough for Cholesky."""
    coarsest = matrix.shape[0] <= _COARSEST
    return _Level(
        shape=(len(ynodes), len(xnodes)),
        matrix=matrix.astype(np.float32),
        jacobi=(1 / sum(np.abs(values) for values in stencil.values())).ravel().astype(np.float32),
        prolong_x=None if coarsest else _prolongation(xnodes),
        prolong_y=None if coarsest else _prolongation(ynodes),
        factor=_cholesky(matrix.toarray()) if coarsest else None,
    )


def _data_term(x, y, z, column, row, xnodes, ynodes, interpolation) -> tuple[dict, np.ndarray, float]:
    """AᵀA as a stencil, Aᵀz, and the largest column sum ‖A‖₁, for points in the cells (row, column)."""
    nx, ny = len(xnodes), len(ynodes)
    tx = (x - xnodes[column]) / np.diff(xnodes)[column]
    ty = (y - ynodes[row]) / np.diff(ynodes)[row]
    weights = _cell_weights(tx, ty, interpolation)
    node = {corner: (row + corner[0]) * nx + column + corner[1] for corner in weights}

    def gathered(corner: tuple[int, int], values: np.ndarray) -> np.ndarray:
        return np.bincount(node[corner], values, minlength=nx * ny)

    stencil: dict[tuple[int, int], np.ndarray] = {}
    for at, weight in weights.items():
        for to, other in weights.items():
            offset = to[0] - at[0], to[1] - at[1]
            if offset >= (0, 0):
                stencil[offset] = stencil.get(offset, 0) + gathered(at, weight * other).reshape(ny, nx)
    for (dy, dx), values in list(stencil.items()):
        stencil[-dy, -dx] = np.roll(values, (dy, dx), axis=(0, 1))  # by symmetry; what wraps round is zero
    nothing = np.zeros(nx * ny)
    rhs = sum((gathered(corner, weight * z) for corner, weight in weights.items()), nothing)
    column_sum = sum((gathered(corner, weight) for corner, weight in weights.items()), nothing).max()
    return stencil, rhs, column_sum


def _cell_weights(tx: np.ndarray, ty: np.ndarray, interpolation: str) -> dict[tuple[int, int], np.ndarray]:
    """Weight of each corner (row, column) of a cell for points at (tx, ty) in it, both in [0, 1]."""
    if interpolation == "bilinear":
        return {(0, 0): (1 - tx) * (1 - ty), (0, 1): tx * (1 - ty), (1, 0): (1 - tx) * ty, (1, 1): tx * ty}
    return {
        (0, 0): 1 - np.maximum(tx, ty),
        (0, 1): np.maximum(tx - ty, 0),
        (1, 0): np.maximum(ty - tx, 0),
        (1, 1): np.minimum(tx, ty),
    }


def _cholesky(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    try:
        factor, lower = scipy.linalg.cho_factor(matrix)
    except np.linalg.LinAlgError:
        raise ValueError(_UNDETERMINED) from None
    pivots = np.diagonal(factor)
    if pivots.min() < 1e-6 * pivots.max():  # their squares are at the edge of what rounding leaves
        raise ValueError(_UNDETERMINED)
    return factor.astype(np.float32), lower


def _second_differences(nodes: np.ndarray) -> np.ndarray:
    """(n, n) negated second derivative on uneven nodes; the first and last rows are zero."""
    before, after = np.diff(nodes)[:-1], np.diff(nodes)[1:]
    matrix = np.zeros((len(nodes), len(nodes)))
    inner = np.arange(1, len(nodes) - 1)
    matrix[inner, inner - 1] = -2 / (before * (before + after))
    matrix[inner, inner] = 2 / (before * after)
    matrix[inner, inner + 1] = -2 / (after * (before + after))
    return matrix


def _regularizer_strength(x_diff, y_diff, smoothness, column_sum) -> tuple[float, float]:
    """λ along x and along y. Entries of the two differences never cancel, so ‖R‖₁ is one for both regularizers."""
    weights = np.broadcast_to(np.asarray(smoothness, dtype=np.float64), 2)
    mean = np.sqrt(weights.prod())
    stiffness = weights / mean
    norm = stiffness[0] * np.abs(x_diff).sum(axis=0).max() + stiffness[1] * np.abs(y_diff).sum(axis=0).max()
    return tuple(stiffness * mean * column_sum / norm)


def _regularizer_term(x_diff, y_diff, x_weight, y_weight, regularizer) -> dict[tuple[int, int], np.ndarray]:
    """λ²RᵀR as a stencil, summed from Kronecker products of 1-D matrices."""
    products = [
        (np.diag(y_weight), x_diff.T * x_weight @ x_diff),
        (y_diff.T * y_weight @ y_diff, np.diag(x_weight)),
    ]
    if regularizer == "laplacian":
        products.append((y_weight[:, None] * y_diff, x_diff.T * x_weight))
        products.append((y_diff.T * y_weight, x_weight[:, None] * x_diff))
    stencil: dict[tuple[int, int], np.ndarray] = {}
    for y_matrix, x_matrix in products:
        x_diagonals = _diagonals(x_matrix)
        for dy, y_values in _diagonals(y_matrix).items():
            for dx, x_values in x_diagonals.items():
                values = np.outer(y_values, x_values)
                stencil[dy, dx] = stencil[dy, dx] + values if (dy, dx) in stencil else values
    return stencil


def _diagonals(matrix: np.ndarray) -> dict[int, np.ndarray]:
    """The non-zero diagonals of a pentadiagonal matrix: offset -> (n,) entries matrix[i, i + offset], 0 outside."""
    found = {}
    for offset in range(-2, 3):
        values = np.zeros(len(matrix))
        values[max(-offset, 0) : len(matrix) - max(offset, 0)] = np.diagonal(matrix, offset)
        if values.any():
            found[offset] = values
    return found


def _as_matrix(stencil: dict[tuple[int, int], np.ndarray], nx: int) -> scipy.sparse.dia_array:
    # DIA stores entry (j - offset, j) at column j; by symmetry that is the entry (j, j - offset) of the stencil.
    offsets = [-(dy * nx + dx) for dy, dx in stencil]
    data = np.stack([values.ravel() for values in stencil.values()])
    return scipy.sparse.dia_array((data, offsets), shape=(data.shape[1], data.shape[1]))


def _kept(count: int) -> np.ndarray:
    """Indices of the nodes that the next coarser grid keeps: every second one, and the last."""
    return np.append(np.arange(0, count - 1, 2), count - 1)


def _rows_represented(index: np.ndarray) -> np.ndarray:
    """How many of the finest grid's rows each kept one represents, half-way to its neighbours on either side.

    Weighted by it, the regularizer's energies are comparable from level to level.
    """
    return np.diff(np.concatenate([[-0.5], (index[1:] + index[:-1]) / 2, [index[-1] + 0.5]]))


def _prolongation(nodes: np.ndarray) -> scipy.sparse.csr_array:
    """(n, m) Lagrange interpolation from the kept nodes, cubic where there are four of them."""
    coarse = nodes[_kept(len(nodes))]
    width = min(4, len(coarse))
    cell = np.searchsorted(coarse, nodes, side="right") - 1
    first = np.clip(cell - (width // 2 - 1), 0, len(coarse) - width)
    columns = first[:, None] + np.arange(width)
    weights = np.ones(columns.shape)
    for k in range(width):
        for other in range(width):
            if other != k:
                near, far = coarse[columns[:, k]], coarse[columns[:, other]]
                weights[:, k] *= (nodes - far) / (near - far)
    rows = np.repeat(np.arange(len(nodes)), width)
    return scipy.sparse.csr_array((weights.ravel(), (rows, columns.ravel())), shape=(len(nodes), len(coarse)))


def _nested_start(levels: list[_Level], rhs: list[np.ndarray]) -> np.ndarray:
    """Solves the coarsest grid and carries it up, one V-cycle per level (full multigrid)."""
    heights = scipy.linalg.cho_solve(levels[-1].factor, rhs[-1].astype(np.float32))
    for depth in range(len(levels) - 2, -1, -1):
        level = levels[depth]
        heights = level.prolong(heights)
        heights += _v_cycle(levels, depth, rhs[depth].astype(np.float32) - level.matrix @ heights)
    return heights.astype(np.float64)


def _v_cycle(levels: list[_Level], depth: int, residual: np.ndarray) -> np.ndarray:
    """Approximate solution of levels[depth].matrix @ correction = residual; linear, symmetric, positive definite."""
    level = levels[depth]
    if level.factor is not None:
        return scipy.linalg.cho_solve(level.factor, residual, check_finite=False)
    correction, left = _smoothed(level, residual)
    coarse = level.prolong(_v_cycle(levels, depth + 1, level.restrict(left)))
    correction += coarse
    left -= level.matrix @ coarse
    correction += _smoothed(level, left)[0]
    return correction


def _smoothed(level: _Level, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev iteration on the l1-scaled matrix, tuned to the upper end of its spectrum (Saad 2003, alg. 12.1).

    Returns the correction and the residual that it leaves.
    """
    centre, radius = (1 + _SMOOTHED) / 2, (1 - _SMOOTHED) / 2
    rho = radius / centre
    step = level.jacobi * residual
    step *= np.float32(1 / centre)
    correction = step.copy()
    residual = residual - level.matrix @ step
    for _ in range(_SMOOTHING_STEPS - 1):
        rho_next = 1 / (2 * centre / radius - rho)
        step *= np.float32(rho_next * rho)
        scaled = level.jacobi * residual
        scaled *= np.float32(2 * rho_next / radius)
        step += scaled
        correction += step
        residual -= level.matrix @ step
        rho = rho_next
    return correction, residual


def _conjugate_gradients(
    matrix: scipy.sparse.dia_array, rhs: np.ndarray, levels: list[_Level], heights: np.ndarray, tolerance: float
) -> tuple[np.ndarray, float]:
    """Preconditioned conjugate gradients; the error is judged by the V-cycle's own correction.

    The preconditioner works in float32 on the scaled residual: it decides how fast, never what comes out.
    """
    residual = rhs - matrix @ heights
    direction, product, error = np.zeros_like(heights), 1.0, np.inf
    for _ in range(_MAX_ITERATIONS):
        scale = np.abs(residual).max() or 1.0
        correction = _v_cycle(levels, 0, (residual / scale).astype(np.float32)) * scale
        error = np.abs(correction).max()
        if error <= tolerance:
            return heights + correction, error
        product, previous = residual @ correction, product
        direction *= product / previous
        direction += correction
        image = matrix @ direction
        length = product / (direction @ image)
        heights = heights + length * direction
        residual -= length * image
    return heights, error
