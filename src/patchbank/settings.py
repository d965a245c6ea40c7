"""Every setting of the program, once: its name, default, unit and help.

Settings come from the environment (``PATCHBANK_`` and the name in capitals). What belongs to a bank
(backbone, layers, image size, coreset ratio...) is no setting of the program: it is stored with the
bank and given at `fit`.
"""

from __future__ import annotations

import math
import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from patchbank.control_groups import processor_share
from patchbank.errors import ParameterError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_bytes(text: str) -> int:
    """Return a number of bytes from ``4GB``, ``500 MB``, ``1.5GiB`` or ``4000000000``.

    Raises
    ------
    ParameterError
        If it is none, or not above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE | re.ASCII)
    unit = match and match[2].upper()
    if match is None or (match[3] and not unit):
        raise ParameterError(f"memory limit {text!r}: give a number and a unit, for example 4GB")
    count = float(match[1]) * (_BINARY_UNITS if match[3] else _UNITS)[unit or ""]
    if not 1 <= count < 2**62:
        raise ParameterError(f"memory limit {text!r}: out of range; give for example 4GB")
    return int(count)


def _bytes_or_none(value: object) -> object:
    try:
        return parse_bytes(value) if isinstance(value, str) else value
    except ParameterError as error:
        # What pydantic takes for a wrong value; `get_settings` names the variable.
        raise ValueError(str(error)) from error


def _default_home() -> Path:
    try:
        return platformdirs.user_data_path("patchbank")
    except RuntimeError:
        # An account without a home may still be given one; who needs this one says that it is none.
        return Path("~/patchbank")


class Settings(BaseSettings):
    """Settings of this process, read from the environment."""

    model_config = SettingsConfigDict(
        env_prefix="PATCHBANK_",
        frozen=True,
        # A variable set to nothing is one not set: not the current folder, nor some server.
        env_ignore_empty=True,
        allow_inf_nan=False,
    )

    home: Path = Field(
        default_factory=_default_home,
        description="Folder of the embedded database and of what is compiled.",
    )
    backbones: Path | None = Field(
        default=None,
        description="Folder of the weights and networks that `patchbank backbone` keeps; without "
        "it, the folder `backbones` under the home folder.",
    )
    database_url: str | None = Field(
        default=None,
        description="URL of a PostgreSQL of one's own (15 or newer, pgvector 0.8 or newer); "
        "without it, the embedded PostgreSQL under the home folder is used.",
    )
    database_idle_minutes: float = Field(
        default=10.0,
        gt=0,
        description="Minutes without a client after which the embedded PostgreSQL stops by itself.",
    )
    database_connect_seconds: int = Field(
        default=10,
        ge=2,
        description="Seconds in which PostgreSQL must let a connection in, and be back after one "
        "was lost.",
    )
    database_answer_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Seconds that PostgreSQL may be silent while a question is open; what takes "
        "long, as saving a bank, ends only when it does not answer others either.",
    )
    keep_versions: int = Field(
        default=20,
        ge=1,
        description="How many versions of a bank are kept whole at least, to judge by them again.",
    )
    keep_days: float = Field(
        default=90.0,
        ge=0,
        description="Days for which the versions of a bank are kept whole at least.",
    )
    max_image_megapixels: float = Field(
        default=100.0, gt=0, description="Largest image that is decoded, in millions of pixels."
    )
    max_image_megabytes: float = Field(
        default=256.0, gt=0, description="Largest image file that is read, in millions of bytes."
    )
    trial_seconds: float = Field(
        default=120.0,
        gt=0,
        description="Seconds that a network of somebody else's may take to be tried before it is "
        "added.",
    )
    max_bank_file_gigabytes: float = Field(
        default=8.0,
        gt=0,
        description="Largest bank's file, or file of Anomalib's, that is read, in billions of "
        "bytes.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="Threads for numeric work; 0 means all cores this process may use.",
    )
    memory_limit: Annotated[int | None, BeforeValidator(_bytes_or_none)] = Field(
        default=None,
        gt=0,
        description="Memory a fit may take, such as 4GB; without it, half of what is free.",
    )
    log: Literal["text", "json"] | None = Field(
        default=None,
        description="Write standard error for a service that collects it: `text`, lines with time, "
        "level and origin, or `json`, an object a line. It then tells what is done, as `--verbose` "
        "does.",
    )
    compiled_kernels: bool = Field(
        default=True,
        description="Whether numeric kernels are compiled; false computes the same with NumPy, "
        "many times slower.",
    )
    debug: bool = Field(
        default=False,
        description="Show the trace of an error, and all that is logged, by libraries too, as "
        "`--debug` does.",
    )


@cache
def get_settings() -> Settings:
    """Return the settings of this process, read once.

    Raises
    ------
    ParameterError
        If a variable of the environment holds what it cannot.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        name = f"PATCHBANK_{'_'.join(str(part) for part in first['loc']).upper()}"
        raise ParameterError(f"{name} is {first['input']!r}: {reason}; correct it.") from error


def usable_cores() -> int:
    """Return how many threads numeric work uses: the setting, or the cores this process has."""
    chosen = get_settings().threads
    if chosen:
        return chosen
    # What the process was given, in a container or by taskset, may be less than the machine has.
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    share = _processor_share()
    # A part of a processor's time lets one more thread run for a part of the time.
    return cores if share is None else max(1, min(cores, math.ceil(share)))


@cache
def _processor_share() -> float | None:
    return processor_share()
