"""Get, add and list the networks that features are taken from."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbank.errors import (
    DiskFullError,
    DownloadError,
    ParameterError,
    UnknownBackboneError,
    WeightsError,
)
from patchbank.progress import Progress, silent
from patchbank.vision.backbones import (
    Backbone,
    get_backbone,
    known_backbones,
    weights_folder,
)
from patchbank.vision.backbones.kept_weights import HUB_FILE, KeptWeights
from patchbank.vision.backbones.weights_folder import Kept, Source

__all__ = [
    "BackboneListing",
    "Kept",
    "add_network",
    "add_weights",
    "list_backbones",
    "pull_backbone",
    "remove_backbone",
]


@dataclass(frozen=True)
class BackboneListing:
    """What is known of one backbone, and what is here of it.

    Attributes
    ----------
    backbone
        None where its record is damaged and nothing else is known of it.
    size
        Of the file in bytes, where there is one.
    problem
        Why what is here cannot be used.
    """

    name: str
    backbone: Backbone | None
    size: int | None
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        one = self.backbone
        usable = None if self.problem else one
        return {
            "backbone": self.name,
            "here": usable is not None and usable.weights_installed(),
            "problem": self.problem,
            "licence": None if one is None else one.licence,
            "parameters": None if one is None else one.parameters,
            "file_bytes": self.size,
            "from": None if usable is None else usable.origin,
            "install": None if one is None else one.install,
            "layers": [
                {
                    "layer": layer.name,
                    "channels": layer.channels,
                    "stride": layer.stride,
                    "default": one is not None and layer.name in one.default_layers,
                }
                for layer in (() if one is None else one.layers)
            ],
        }


def list_backbones() -> list[BackboneListing]:
    """Return all known backbones and the user's own, those with a damaged record too."""
    names = dict.fromkeys((*known_backbones(), *weights_folder.names()))
    return [_listing(name) for name in names]


def _listing(name: str) -> BackboneListing:
    if not weights_folder.is_name(name):
        place = weights_folder.folder() / name
        return BackboneListing(
            name, None, None, f"{place}: not a valid backbone name; rename or remove the folder"
        )
    backbone = None
    try:
        backbone = get_backbone(name)
        path = backbone.weights_path()
    except WeightsError as error:
        return BackboneListing(name, backbone, None, str(error))
    return BackboneListing(name, backbone, None if path is None else path.stat().st_size)


def pull_backbone(
    name: str,
    *,
    replace: bool = False,
    announce: Callable[[str], None] = lambda text: None,
    progress: Progress = silent,
) -> Kept:
    """Download a known backbone's weights, check them and keep them.

    The commit and the SHA-256 are recorded at the first download. After that, the same commit is
    asked for and nothing but the same bytes is taken.

    Parameters
    ----------
    replace
        Take what the hub has now, whatever was recorded.
    announce
        Called with a line that says what comes and how large it is, before it comes.

    Raises
    ------
    UnknownBackboneError
        No backbone has that name, or its weights are not on the hub.
    MissingExtraError
        huggingface_hub is not installed.
    DownloadError
        The hub cannot be reached; the message says which file to bring.
    WeightsError
        The file is not what was recorded, or not this network's.
    DiskFullError
        There is no room for it.
    """
    from patchbank.vision.backbones import hub

    weights = _weights(name)
    recorded = None if replace else weights_folder.find(name)
    if recorded is not None and recorded.path.is_file():
        if weights_folder.digest(recorded.path) == recorded.sha256:
            announce(f"{name} already exists: {recorded.path}")
            return recorded
        announce(f"{recorded.path} is damaged; downloading it again")
    revision = None if recorded is None else recorded.source.revision
    try:
        wanted = hub.find_file(weights.repository, HUB_FILE, revision)
        announce(
            f"{wanted.repository}, {wanted.file} at {wanted.revision[:12]}: "
            f"{wanted.size / 1e6:,.1f} MB, to {weights_folder.folder() / name}"
        )
        with weights_folder.locked(name) as folder:
            if shutil.disk_usage(folder).free < wanted.size:
                raise DiskFullError(
                    f"{folder}: {wanted.size / 1e6:,.0f} MB of disk space are needed; free "
                    f"some space"
                )
            part = hub.download(wanted, folder, progress=progress)
            expected = wanted.sha256 if recorded is None else recorded.sha256
            try:
                actual = _checked(weights, part, expected)
            except WeightsError:
                # Another attempt shall not begin with it.
                part.unlink()
                raise
            kept = Kept(
                name=name,
                kind="weights",
                sha256=actual,
                size=wanted.size,
                source=Source(wanted.repository, wanted.revision),
                added_at=weights_folder.now(),
            )
            weights_folder.keep(kept, part, move=True)
            return kept
    except DownloadError as error:
        raise DownloadError(
            f"{error}; try again, or download {HUB_FILE} from "
            f"https://huggingface.co/{weights.repository} and run: "
            f"patchbank backbone add {name} --file {HUB_FILE}"
        ) from error


def add_weights(name: str, file: Path, *, replace: bool = False) -> Kept:
    """Keep a safetensors file as a known backbone's weights, if it is one.

    Raises
    ------
    UnknownBackboneError
        No backbone has that name, or it comes as a package.
    WeightsError
        The file is not this network's: the first array that is missing or of another shape is
        named.
    ParameterError
        Other weights are here, and `replace` is not given.
    """
    weights = _weights(name)
    kept = Kept(
        name=name,
        kind="weights",
        sha256=_checked(weights, file, None),
        size=file.stat().st_size,
        source=Source(str(file.absolute())),
        added_at=weights_folder.now(),
    )
    return _keep(kept, file, replace=replace)


def add_network(
    name: str,
    file: Path,
    outputs: Sequence[str],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    replace: bool = False,
) -> Kept:
    """Keep a user's own ONNX network, having tried it in a process of its own.

    Parameters
    ----------
    outputs
        Values of the graph that become layers; each a feature map.
    mean, std
        What pixels are normalised with, on a scale from 0 to 1: red, green, blue.

    Raises
    ------
    ParameterError
        The name is a known backbone's or taken, or an output is no feature map.
    WeightsError
        The file is no network that can be run, or one that takes too long or too much memory.
    """
    from patchbank.inspection.learning.memory_limit import trial_limit
    from patchbank.vision.trial import try_network

    weights_folder.check_name(name)
    if name in known_backbones():
        raise ParameterError(
            f"{name} is the name of a known backbone; choose another name for your network"
        )
    kept = Kept(
        name=name,
        kind="network",
        sha256=weights_folder.digest(file),
        size=file.stat().st_size,
        source=Source(str(file.absolute())),
        added_at=weights_folder.now(),
    )
    network = try_network(kept, file, outputs, mean, std, memory=trial_limit())
    return _keep(dataclasses.replace(kept, network=network), file, replace=replace)


def remove_backbone(name: str) -> None:
    """Remove the weights or the network of that name from this machine, damaged ones too.

    Raises
    ------
    ParameterError
        Nothing of that name was added or downloaded.
    WeightsError
        Its folder cannot be removed.
    """
    if name not in weights_folder.names():
        raise ParameterError(f"{name}: no backbone of that name was added or downloaded")
    weights_folder.remove(name)


def _weights(name: str) -> KeptWeights:
    backbone = get_backbone(name)
    weights = getattr(backbone, "weights", None)
    if isinstance(weights, KeptWeights):
        return weights
    raise UnknownBackboneError(
        f"{name} cannot be downloaded or added; install it with: {backbone.install}"
    )


def _checked(weights: KeptWeights, file: Path, expected: str | None) -> str:
    """Check that a file has the weights of a network; return its digest."""
    actual = weights_folder.digest(file)
    if expected is not None and actual != expected:
        raise WeightsError(
            f"{weights.name}: the downloaded file has SHA-256 {actual[:16]}… and not the recorded "
            f"{expected[:16]}…, so it was rejected; to use it anyway, add --replace and refit "
            f"the banks made with the other file"
        )
    weights.read_file(file, sha256=actual)
    return actual


def _keep(kept: Kept, file: Path, *, replace: bool) -> Kept:
    """Put a checked file where it is found, unless another has its name."""
    before = weights_folder.find(kept.name)
    if before is not None and not replace:
        if before.identity == kept.identity and before.path.is_file():
            return before
        if before.identity != kept.identity:
            raise ParameterError(
                f"{kept.name}: another file already exists under that name ({before.origin}, "
                f"SHA-256 "
                f"{before.sha256[:16]}…); to replace it, add --replace and refit the banks "
                f"made with it"
            )
    with weights_folder.locked(kept.name):
        weights_folder.keep(kept, file)
    return kept
