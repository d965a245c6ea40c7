"""What an Anomalib bank was made with: said by the file, by an option, or assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from patchbank.contrib._anomalib_files import AnomalibFile
from patchbank.errors import ParameterError

# What Anomalib 2 does unless it is told otherwise.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "backbone": "wide_resnet50_2",
    "layers": ("layer2", "layer3"),
    "image_size": 256,
    "center_crop": None,
    "coreset_ratio": 0.1,
    "num_neighbors": 9,
}
# What features depend on. A bank judged by others gives scores without meaning.
_NEEDED: Final = ("backbone", "layers", "image_size", "center_crop")


@dataclass(frozen=True)
class Setting:
    """What the bank was made with, and who says so: ``file``, ``option`` or ``default``."""

    name: str
    value: Any
    source: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {"setting": self.name, "value": value, "source": self.source}

    @property
    def assumed(self) -> bool:
        """Whether nobody says so, and features depend on it."""
        return self.source == "default" and self.name in _NEEDED


def settle(
    found: AnomalibFile, options: Mapping[str, Any], *, assume_defaults: bool
) -> list[Setting]:
    """Return every setting with who says so.

    Parameters
    ----------
    options
        What was given; a ``center_crop`` of 0 is none.

    Raises
    ------
    ParameterError
        An option says otherwise than the file, or nobody says what features depend on.
    """
    defaults = {**_DEFAULTS, **found.defaults}
    given = dict(options)
    if given.get("center_crop") == 0:
        given["center_crop"] = None
    settled = [_settle(found, name, defaults[name], given) for name in _DEFAULTS]
    missing = [setting.name for setting in settled if setting.assumed]
    if missing and not assume_defaults:
        raise ParameterError(_not_said(found, missing, defaults))
    return settled


def _settle(found: AnomalibFile, name: str, default: Any, given: Mapping[str, Any]) -> Setting:
    if name not in found.settings:
        if name in given:
            return Setting(name, given[name], "option")
        return Setting(name, default, "default")
    value = found.settings[name]
    same = name not in given or given[name] == value
    if name == "backbone" and name in given:
        same = known_name(given[name]) == known_name(value)
    if not same:
        raise ParameterError(
            f"{found.file.path}: was made with {name} {_text(value)}, and the option says "
            f"{_text(given[name])}; leave the option out"
        )
    return Setting(name, value, "file")


def _not_said(found: AnomalibFile, missing: list[str], defaults: Mapping[str, Any]) -> str:
    options = [f"--{name.replace('_', '-')}" for name in missing]
    crop = ""
    if "center_crop" in missing:
        options[-1] += " (0 for none)"
        crop = " (Anomalib 1 and 2.0 crop 256 pixels to 224 by default, 2.1 and newer do not)"
    assumed = ", ".join(f"{name} {_text(defaults[name])}" for name in missing)
    return (
        f"{found.file.path}: does not say {', '.join(missing)}{crop}, and with others than made "
        f"it all scores are wrong; give {', '.join(options)}, or --assume-defaults for {assumed}"
    )


def known_name(backbone: str) -> str:
    """Return timm's name without what names its weights."""
    return backbone.partition(".")[0]


def _text(value: object) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
