"""Compile numeric kernels and cache the compiled code.

Numba chooses its cache folder at import and fails if it finds none, as for a service without a home
folder in an installation owned by root. Here the folder is chosen at first use; without one, the
kernels are compiled in memory.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, NullCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError

from patchbank.caches import cache_folder
from patchbank.errors import CacheWarning

Function = TypeVar("Function", bound=Callable[..., Any])

_config: Any = numba.config
_lock = threading.Lock()


def compiled(function: Function, *, fastmath: set[str] | bool = False) -> Function:
    """Compile a function on first use, cache it on disk, and release the GIL while it runs."""
    dispatcher: Any = numba.njit(nogil=True, fastmath=fastmath)(function)
    dispatcher._cache = _KernelCache(function)
    return cast(Function, dispatcher)


def compile_trial() -> str | None:
    """Compile a small kernel; return why it failed, or None."""
    try:
        compiled(_add_one)(1)
    except (NumbaError, OSError, RuntimeError) as error:
        # LLVM fails, for example, where the system forbids executable memory.
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _add_one(number: int) -> int:
    return number + 1


def kernel_folder() -> Path | None:
    """Return the folder of compiled kernels, Numba's setting or ours; None if none can be used."""
    chosen = Path(_config.CACHE_DIR) if _config.CACHE_DIR else cache_folder("numba")
    return None if chosen is None else chosen / _digest_of_kernels()


@cache
def _digest_of_kernels() -> str:
    """Return a digest of all kernel sources; Numba checks only a kernel's own file."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*/_*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class _KernelCache(NullCache):
    """Numba's cache of one function, in the folder that is current at each access.

    The cache only saves time: if anything is wrong with its files, the kernel is compiled again.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        cache = self._cache()
        if cache is None:
            return None
        try:
            return cache.load_overload(sig, target_context)
        except (OSError, EOFError, ValueError, pickle.PickleError):
            # Truncated by a full disk or a power failure.
            try:
                cache.flush()
            except OSError as error:
                _warn(str(error))
            return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        cache = self._cache()
        if cache is not None:
            try:
                cache.save_overload(sig, cres)
            except (OSError, EOFError, ValueError, pickle.PickleError) as error:
                _warn(str(error))

    def _cache(self) -> Any:
        with _lock:
            folder = kernel_folder()
            if folder is None:
                _warn("no folder is writable by this account only")
                return None
            before = _config.CACHE_DIR
            _config.CACHE_DIR = str(folder)
            try:
                # Numba leaves this class without types.
                return FunctionCache(self._function)  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                _warn(str(error))
                return None
            finally:
                # Other code in this process may use Numba with its own folder.
                _config.CACHE_DIR = before


@cache
def _warn(reason: str) -> None:
    """Warn once per reason; Python's own record is reset when warning filters change."""
    warnings.warn(
        f"compiled kernels cannot be cached ({reason}): every process compiles them again, which "
        "takes seconds; set PATCHBANK_HOME to a folder that this account owns",
        CacheWarning,
        stacklevel=1,
    )


# A child forked while another thread compiles would wait forever for that thread's lock.
# `_lock` needs no such care: it is only taken while this lock is held.
os.register_at_fork(
    before=global_compiler_lock.acquire,
    after_in_parent=global_compiler_lock.release,
    after_in_child=global_compiler_lock.release,
)
