"""All settings of the program, with default, unit and help.

Settings come from environment variables (``PATCHBANK_`` and the name in capitals). What belongs to
a bank (backbone, layers, image size, coreset ratio) is given to `fit` and stored with the bank.
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
from patchbank.refused_values import refused_value

# A century: what is more is a mistake, and beyond what databases reckon with.
_MOST_DAYS = 36_500
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_bytes(text: str) -> int:
    """Return the number of bytes in ``4GB``, ``500 MB``, ``1.5GiB`` or ``4000000000``.

    Raises
    ------
    ParameterError
        If the text is not a number of bytes, or not above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE | re.ASCII)
    unit = match and match[2].upper()
    if match is None or (match[3] and not unit):
        raise ParameterError(f"memory limit {text!r}: give a number and a unit, such as 4GB")
    count = float(match[1]) * (_BINARY_UNITS if match[3] else _UNITS)[unit or ""]
    if not 1 <= count < 2**62:
        raise ParameterError(f"memory limit {text!r}: out of range; give a size such as 4GB")
    return int(count)


def _bytes_or_none(value: object) -> object:
    try:
        return parse_bytes(value) if isinstance(value, str) else value
    except ParameterError as error:
        # Pydantic reports a ValueError as a bad value; `get_settings` adds variable and value.
        raise ValueError(str(error).removeprefix(f"memory limit {value!r}: ")) from error


def _default_home() -> Path:
    try:
        return platformdirs.user_data_path("patchbank")
    except RuntimeError:
        # PATCHBANK_HOME may still be set; code that uses this fallback refuses it.
        return Path("~/patchbank")


class Settings(BaseSettings):
    """The settings of this process, read from environment variables."""

    model_config = SettingsConfigDict(
        env_prefix="PATCHBANK_",
        frozen=True,
        # An empty variable counts as unset: it means neither the current folder nor a server.
        env_ignore_empty=True,
        allow_inf_nan=False,
    )

    home: Path = Field(
        default_factory=_default_home,
        description="Folder of the embedded database and of compiled code.",
    )
    backbones: Path | None = Field(
        default=None,
        description="Folder of the weights and networks that `patchbank backbone` keeps; without "
        "it, the folder `backbones` in the home folder.",
    )
    database_url: str | None = Field(
        default=None,
        description="URL of your own PostgreSQL (15 or newer, pgvector 0.8 or newer); "
        "without it, the embedded PostgreSQL in the home folder is used.",
    )
    database_idle_minutes: float = Field(
        default=10.0,
        gt=0,
        description="Minutes without a client after which the embedded PostgreSQL stops.",
    )
    database_connect_seconds: int = Field(
        default=10,
        ge=2,
        description="Seconds within which PostgreSQL must accept a connection, and be back after "
        "one was lost.",
    )
    database_answer_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Seconds that PostgreSQL may take to answer; a slow operation, such as saving "
        "a bank, is aborted only if the server does not answer a second connection either.",
    )
    keep_versions: int = Field(
        default=20,
        ge=1,
        description="Minimum number of bank versions kept, for judging by them again.",
    )
    keep_days: float = Field(
        default=90.0,
        ge=0,
        le=_MOST_DAYS,
        description="Minimum number of days for which bank versions are kept.",
    )
    keep_inspections_days: float | None = Field(
        default=None,
        gt=0,
        le=_MOST_DAYS,
        description="Number of days for which inspections are kept, to a day; without it, forever.",
    )
    keep_inspections_bytes: Annotated[int | None, BeforeValidator(_bytes_or_none)] = Field(
        default=None,
        gt=0,
        description="Disk space that inspections and their images may take, such as 50GB; the "
        "oldest are removed. Without it, no limit.",
    )
    bank_budget: int = Field(
        default=0,
        ge=0,
        description="Number of patches that a bank may grow to by additions before they are chosen "
        "anew; 0 means twice what a fit of all its references would keep.",
    )
    keep_images: Literal["all", "not-pass", "none"] = Field(
        default="not-pass",
        description="Which images of recorded inspections are kept in the database: `all`, "
        "`not-pass` (those that failed or need review) or `none`.",
    )
    max_kept_image_megabytes: float = Field(
        default=20.0,
        gt=0,
        description="Largest image that is kept with its inspection, in millions of bytes.",
    )
    station: str | None = Field(
        default=None,
        description="Where images are inspected, such as `line-2`: recorded with each inspection.",
    )
    max_image_megapixels: float = Field(
        default=100.0, gt=0, description="Largest image that is decoded, in millions of pixels."
    )
    max_image_megabytes: float = Field(
        default=256.0, gt=0, description="Largest image file that is read, in millions of bytes."
    )
    serve_megabytes: float = Field(
        default=64.0,
        gt=0,
        description="Largest body of a request that `patchbank serve` takes, in millions of bytes.",
    )
    serve_upload_megabytes: float = Field(
        default=4000.0,
        gt=0,
        description="Largest body of a request that brings `patchbank serve` images to learn or a "
        "bank to import, in millions of bytes.",
    )
    serve_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Seconds within which the body of a request must have arrived; of images to "
        "learn and of banks, each part of it.",
    )
    serve_waiting: int = Field(
        default=16,
        ge=0,
        description="How many images may wait for `patchbank serve`, besides those that are being "
        "judged; more are refused for a moment.",
    )
    serve_banks: int = Field(
        default=16,
        ge=1,
        description="How many banks `patchbank serve` keeps in memory.",
    )
    serve_recent_megabytes: float = Field(
        default=128.0,
        ge=0,
        description="Memory for the images of the last inspections, which the pages of `patchbank "
        "serve` show, in millions of bytes.",
    )
    trial_seconds: float = Field(
        default=120.0,
        gt=0,
        description="Seconds that the trial run of a network from elsewhere may take before it is "
        "added.",
    )
    max_bank_file_gigabytes: float = Field(
        default=8.0,
        gt=0,
        description="Largest bank file or Anomalib file that is read, in billions of bytes.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="Threads for numeric work; 0 means all cores that this process may use.",
    )
    memory_limit: Annotated[int | None, BeforeValidator(_bytes_or_none)] = Field(
        default=None,
        gt=0,
        description="Memory that a fit may use, such as 4GB; without it, half of the free memory.",
    )
    log: Literal["text", "json"] | None = Field(
        default=None,
        description="Format of standard error for a log collector: `text`, lines with time, level "
        "and origin, or `json`, one object per line. Also logs progress, as `--verbose` does.",
    )
    compiled_kernels: bool = Field(
        default=True,
        description="Whether numeric kernels are compiled; false computes the same with NumPy, "
        "many times slower.",
    )
    debug: bool = Field(
        default=False,
        description="Show tracebacks and all log messages, including those of libraries, as "
        "`--debug` does.",
    )


@cache
def get_settings() -> Settings:
    """Return the settings of this process, read once.

    Raises
    ------
    ParameterError
        If an environment variable has an invalid value.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        value, allowed = refused_value(error)
        reason = allowed or first["msg"].removeprefix("Value error, ")
        name = f"PATCHBANK_{'_'.join(str(part) for part in first['loc']).upper()}"
        raise ParameterError(f"{name} is {value!r}: {reason}") from error


def usable_cores() -> int:
    """Return the number of threads for numeric work: the setting, or this process's cores."""
    chosen = get_settings().threads
    if chosen:
        return chosen
    # A container or taskset may allow fewer cores than the machine has.
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    share = _processor_share()
    # With a share of 1.5 processors, a second thread can run half of the time.
    return cores if share is None else max(1, min(cores, math.ceil(share)))


@cache
def _processor_share() -> float | None:
    return processor_share()
