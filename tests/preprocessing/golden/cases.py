"""The problems whose solutions gridfit.npz holds; needs numpy alone, for make_golden.py's sake."""

import numpy as np

CASES = [
    (name, interpolation, regularizer, smoothness)
    for interpolation in ("triangle", "bilinear")
    for regularizer in ("gradient", "laplacian")
    for name, smoothness in (("small", 0.7), ("small", np.array([0.5, 2.0])), ("face", 1.0))
]


def small_case():
    """200 points on 14 × 11 irregular nodes: x, y, z, xnodes, ynodes."""
    rng = np.random.default_rng(7)
    xnodes, ynodes = np.sort(rng.uniform(0, 10, 14)), np.sort(rng.uniform(-3, 9, 11))
    x, y = rng.uniform(xnodes[0], xnodes[-1], 200), rng.uniform(ynodes[0], ynodes[-1], 200)
    return x, y, np.sin(x / 2) + np.cos(y / 3), xnodes, ynodes


def face_case():
    """36,000 noisy points within an ellipse, with a hole, on 224 × 224 irregular nodes: x, y, z, xnodes, ynodes."""
    rng = np.random.default_rng(8)
    x, y = rng.uniform(-70, 70, 60_000), rng.uniform(-90, 90, 60_000)
    inside = ((x / 70) ** 2 + (y / 90) ** 2 < 1) & (np.hypot(x - 5, y + 40) > 8)
    x, y = x[inside][:36_000], y[inside][:36_000]
    z = 40 * np.cos(x / 60) * np.cos(y / 80) + 20 * np.exp(-(x**2 + y**2) / 200) + rng.normal(0, 0.3, len(x))
    nodes = [np.linspace(-112, 112, 224) + np.append(np.append(0, rng.uniform(-0.3, 0.3, 222)), 0) for _ in range(2)]
    return x, y, z, *nodes
