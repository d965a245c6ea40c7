"""Room for the libraries that judge images, where a process may reserve only so much memory.

What they do without is not ours to say: SciPy's BLAS asks for memory for ever while it is loaded,
deaf to signals, and others end the process.
"""

from __future__ import annotations

import importlib
import resource

from patchbank.errors import ParameterError
from patchbank.printable import counted
from patchbank.settings import usable_cores

# What OpenVINO, LLVM and BLAS reserve before the first image, most of it never taken: 0.94 GB with
# one thread, 1.5 GB with 8, 1.8 GB with 16; and what of it they may write to. Each limit with the
# bytes that it must allow, and those for each thread.
_LIMITS = (
    ("ulimit -v", resource.RLIMIT_AS, 1_000_000_000, 80_000_000),
    ("ulimit -d", resource.RLIMIT_DATA, 300_000_000, 30_000_000),
)


def take_address_space() -> None:
    """Check that this process may reserve what the libraries need, and load SciPy's BLAS.

    Raises
    ------
    ParameterError
        When a limit of the process is too small.
    """
    threads = usable_cores()
    for name, limit, least, per_thread in _LIMITS:
        allowed = resource.getrlimit(limit)[0]
        needed = least + threads * per_thread
        if allowed != resource.RLIM_INFINITY and allowed < needed:
            raise ParameterError(
                f"the memory limit of this process ({name}) is {allowed / 1e9:.2f} GB; patchbank "
                f"needs {needed / 1e9:.2f} GB with {counted(threads, 'thread')}: "
                "raise it, or limit the resident memory instead (container limit, systemd "
                "MemoryMax)"
            )
    # Numba loads it with the first kernel, when others have taken what it would spin for.
    importlib.import_module("scipy.linalg.cython_blas")
