"""The settings an Anomalib bank was made with: from the file, from an option, or assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from patchbank.contrib._anomalib_files import AnomalibFile
from patchbank.errors import ParameterError

# Anomalib 2's defaults.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "backbone": "wide_resnet50_2",
    "layers": ("layer2", "layer3"),
    "image_size": 256,
    "center_crop": None,
    "coreset_ratio": 0.1,
    "num_neighbors": 9,
}
# The settings that features depend on: with other values, scores are meaningless.
_NEEDED: Final = ("backbone", "layers", "image_size", "center_crop")


@dataclass(frozen=True)
class Setting:
    """A setting of the bank, and its source: ``file``, ``option`` or ``default``."""

    name: str
    value: Any
    source: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {"setting": self.name, "value": value, "source": self.source}

    @property
    def assumed(self) -> bool:
        """Whether it is a default that features depend on."""
        return self.source == "default" and self.name in _NEEDED


def resolve_settings(
    found: AnomalibFile, options: Mapping[str, Any], *, assume_defaults: bool
) -> list[Setting]:
    """Return every setting with its source.

    Parameters
    ----------
    options
        The options that were given; a ``center_crop`` of 0 means none.

    Raises
    ------
    ParameterError
        If an option contradicts the file, or a setting that features depend on is missing.
    """
    defaults = {**_DEFAULTS, **found.defaults}
    options = dict(options)
    if options.get("center_crop") == 0:
        options["center_crop"] = None
    settings = [_resolved(found, name, defaults[name], options) for name in _DEFAULTS]
    missing = [setting.name for setting in settings if setting.assumed]
    if missing and not assume_defaults:
        raise ParameterError(_missing_message(found, missing, defaults))
    return settings


def _resolved(found: AnomalibFile, name: str, default: Any, options: Mapping[str, Any]) -> Setting:
    if name not in found.settings:
        if name in options:
            return Setting(name, options[name], "option")
        return Setting(name, default, "default")
    value = found.settings[name]
    same = name not in options or options[name] == value
    if name == "backbone" and name in options:
        same = architecture(options[name]) == architecture(value)
    if not same:
        raise ParameterError(
            f"{found.file.path}: was made with {name} {_text(value)}, but the option says "
            f"{_text(options[name])}; omit the option"
        )
    return Setting(name, value, "file")


def _missing_message(found: AnomalibFile, missing: list[str], defaults: Mapping[str, Any]) -> str:
    options = [f"--{name.replace('_', '-')}" for name in missing]
    crop = ""
    if "center_crop" in missing:
        options[-1] += " (0 for none)"
        crop = " (Anomalib 1 and 2.0 crop 256 pixels to 224 by default, 2.1 and newer do not)"
    assumed = ", ".join(f"{name} {_text(defaults[name])}" for name in missing)
    return (
        f"{found.file.path}: does not say {', '.join(missing)}{crop}, and wrong values make all "
        f"scores wrong; give {', '.join(options)}, or --assume-defaults for {assumed}"
    )


def architecture(backbone: str) -> str:
    """Return timm's name of a network without the tag of its weights."""
    return backbone.partition(".")[0]


def _text(value: object) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
