"""Whether numeric kernels can be compiled here; if not, NumPy computes the same more slowly."""

from __future__ import annotations

import warnings
from functools import cache

from patchbank.errors import SlowKernelsWarning
from patchbank.settings import get_settings


def compiles() -> bool:
    """Return whether kernels are compiled; warn once if they should be but cannot be."""
    if not get_settings().compiled_kernels:
        return False
    reason = reason_not_compiled()
    if reason is not None:
        _warn(reason)
    return reason is None


@cache
def reason_not_compiled() -> str | None:
    """Return why kernels cannot be compiled on this machine, or None if they can."""
    try:
        from patchbank.compiled import compile_trial
    except (ImportError, OSError) as error:
        # Not installed, built for another NumPy, or a library that the system cannot load.
        return " ".join(str(error).split()) or type(error).__name__
    return compile_trial()


@cache
def _warn(reason: str) -> None:
    warnings.warn(
        f"numeric kernels cannot be compiled ({reason}): NumPy is used instead, many times "
        "slower; see `patchbank doctor`",
        SlowKernelsWarning,
        stacklevel=2,
    )
