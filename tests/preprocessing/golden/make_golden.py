"""Makes gridfit.npz with pygridfit 0.1.7 (BSD-3, a port of John D'Errico's gridfit), in an environment of its own:

    python -m venv venv && venv/bin/pip install pygridfit==0.1.7 && venv/bin/python make_golden.py

Never 0.2 or later, which has another licence. The face-sized case keeps every 8th height.
"""

from pathlib import Path

import numpy as np
import pygridfit
from cases import CASES, face_case, small_case

REGULARIZERS = {"gradient": "gradient", "laplacian": "diffusion"}

golden = {}
for name, interpolation, regularizer, smoothness in CASES:
    make, every = (face_case, 8) if name == "face" else (small_case, 1)
    fit = pygridfit.GridFit(
        *make(), smoothness=smoothness, interp=interpolation, regularizer=REGULARIZERS[regularizer]
    ).fit()
    golden[f"{name}_{interpolation}_{regularizer}_{np.size(smoothness)}"] = fit.zgrid[::every, ::every]
np.savez_compressed(Path(__file__).with_name("gridfit.npz"), **golden)
