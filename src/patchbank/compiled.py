"""Compile numeric kernels, and keep the compiled ones.

Numba looks for a place where it was imported, which a service in a root-owned installation and
without a home does not have, and then refuses to work. Here the place is looked for at the first
use, and where there is none the kernels are compiled in memory.
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
    """Compile a kernel on first use, keep it on disk and let other threads run beside it."""
    dispatcher: Any = numba.njit(nogil=True, fastmath=fastmath)(function)
    dispatcher._cache = _KernelCache(function)
    return cast(Function, dispatcher)


def compile_trial() -> str | None:
    """Compile a small kernel; return why that failed, or None."""
    try:
        compiled(_add_one)(1)
    except (NumbaError, OSError, RuntimeError) as error:
        # LLVM says so where, for example, the system forbids memory that can be executed.
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _add_one(number: int) -> int:
    return number + 1


def kernel_folder() -> Path | None:
    """Return the folder of compiled kernels: Numba's own setting, else ours; None without one."""
    chosen = Path(_config.CACHE_DIR) if _config.CACHE_DIR else cache_folder("numba")
    return None if chosen is None else chosen / _digest_of_kernels()


@cache
def _digest_of_kernels() -> str:
    """Return what changes with any kernel; Numba looks at a kernel's own file alone."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*/_*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class _KernelCache(NullCache):
    """Numba's cache of one function, in the folder that is right when it is asked.

    A cache saves time: whatever is wrong with its files, the kernel is compiled.
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
            # Cut off by a full disk or a loss of power: made anew.
            try:
                cache.flush()
            except OSError as error:
                _tell(str(error))
            return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        cache = self._cache()
        if cache is not None:
            try:
                cache.save_overload(sig, cres)
            except (OSError, EOFError, ValueError, pickle.PickleError) as error:
                _tell(str(error))

    def _cache(self) -> Any:
        with _lock:
            folder = kernel_folder()
            if folder is None:
                _tell("no folder that only this account can write")
                return None
            before = _config.CACHE_DIR
            _config.CACHE_DIR = str(folder)
            try:
                return FunctionCache(self._function)  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                _tell(str(error))
                return None
            finally:
                # Others in this process may have functions and folders of their own.
                _config.CACHE_DIR = before


@cache
def _tell(reason: str) -> None:
    """Warn once; Python forgets what it has shown when anybody changes its filters."""
    warnings.warn(
        f"compiled kernels cannot be kept ({reason}): every process compiles them anew, which "
        "takes seconds; set PATCHBANK_HOME to a folder of this account",
        CacheWarning,
        stacklevel=1,
    )


# A child forked while another thread compiles would wait for that thread, which it does not have.
# Our own lock is only taken by who holds this one.
os.register_at_fork(
    before=global_compiler_lock.acquire,
    after_in_parent=global_compiler_lock.release,
    after_in_child=global_compiler_lock.release,
)
