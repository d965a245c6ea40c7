"""A user's network from an ONNX file."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from patchbank.errors import MissingWeightsError, ParameterError, WeightsError
from patchbank.files import read_regular
from patchbank.vision.backbones import weights_folder
from patchbank.vision.backbones.base import Backbone, Layer

if TYPE_CHECKING:
    from onnx import ModelProto

    from patchbank.vision.backbones.graph import GraphWriter

# The limit of protocol buffers.
_LARGEST_BYTES: Final = 2_000_000_000
_OLDEST_OPSET: Final = 13
_PROBE_SIDE: Final = 224
_CHANNELS: Final = 3
_WEIGHTS: Final = "model"
_FLOAT32: Final = "f32"
_CAST_TYPES: Final = frozenset({"f16", "bf16", "f64"})


class OnnxNetwork(Backbone):
    """A network added by the user.

    Parameters
    ----------
    kept : Kept
        The network's record.
    file : Path, optional
        The file, if it has not been stored yet.
    """

    licence = "not known"
    parameters = None

    def __init__(self, kept: weights_folder.Kept, file: Path | None = None) -> None:
        if kept.network is None:
            raise WeightsError(f"{kept.path.parent}: the record does not describe a network")
        self.name = kept.name
        self.layers = tuple(
            Layer(layer.name, layer.channels, layer.stride) for layer in kept.network.layers
        )
        self.default_layers = tuple(layer.name for layer in self.layers)
        self._kept = kept
        self._network = kept.network
        self._file = kept.path if file is None else file

    @property
    def weights_sha256(self) -> str:
        """Hex digest of the file and its input's normalisation."""
        return weights_folder.digest_of(self._kept.sha256, self._network.mean, self._network.std)

    @property
    def install(self) -> str:
        """The command that adds the network."""
        return f"patchbank backbone add {self.name} --onnx FILE --outputs NAMES"

    @property
    def origin(self) -> str:
        """The source of the network."""
        return self._kept.origin

    def weights_path(self) -> Path | None:
        """Return the file, None if it is missing."""
        return self._file if self._file.is_file() else None

    def read_weights(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the bytes of the verified file."""
        if self.weights_path() is None:
            raise MissingWeightsError(
                f"{self.name}: {self._file} is missing; add it again with: {self.install}"
            )
        content = _read(self._file)
        if weights_folder.digest_of_bytes(content) != self._kept.sha256:
            raise WeightsError(
                f"{self._file}: has changed since it was added as {self.name}; add it again with: "
                f"{self.install}"
            )
        return {_WEIGHTS: np.frombuffer(content, np.uint8)}

    def check_side(self, side: int) -> None:
        """Check that the network accepts images of this size."""
        fixed = self._network.side
        if fixed is not None and side != fixed:
            raise ParameterError(
                f"{self.name} only accepts images of {fixed} pixels, not {side}; "
                f"give --image-size {fixed}, or --tile {fixed} to keep the images' shape"
            )

    def check_runs(self) -> None:
        """Compile the network and run it twice on the same image.

        Raises
        ------
        WeightsError
            If OpenVINO cannot run it, or its outputs are not finite or not reproducible.
        """
        from patchbank.vision.backbones.features import write_layer_graph
        from patchbank.vision.runtime import compile_graph

        side = self._network.side or _PROBE_SIDE
        try:
            graph = compile_graph(
                lambda: (write_layer_graph(self, self.default_layers, side),),
                key="",
                precision="f32",
                threads=1,
                streams=1,
                cache_folder=None,
            )
            image = np.random.default_rng(0).integers(0, 256, (side, side, _CHANNELS), np.uint8)
            runs = []
            for _ in range(2):
                with graph.run(image) as outputs:
                    runs.append([output.copy() for output in outputs])
        except RuntimeError as error:
            # OpenVINO raises this for anything it cannot do.
            raise WeightsError(
                f"{self._file}: OpenVINO cannot run it ({_last_line(error)})"
            ) from error
        for name, first, second in zip(self.default_layers, *runs, strict=True):
            if not np.isfinite(first).all():
                raise WeightsError(
                    f"{self._file}: {name} has values that are not finite for an image of noise; "
                    "check its weights, --mean and --std"
                )
            if not np.array_equal(first, second):
                raise WeightsError(
                    f"{self._file}: {name} differs between two runs on the same image; "
                    "export the network for inference, without random numbers"
                )

    def write(
        self, graph: GraphWriter, weights: Mapping[str, npt.NDArray[Any]], layers: tuple[str, ...]
    ) -> dict[str, str]:
        """Write the whole network; OpenVINO removes what no layer needs."""
        side = graph.side(graph.pixels)
        expected = {name: self.side_at(self.layer(name), side) for name in layers}
        model = _parsed(weights[_WEIGHTS].tobytes(), self._file)
        taps = _include(graph, model, self._network.mean, self._network.std, expected)
        described = _describe(graph, taps, self._file)
        for name, positions in expected.items():
            wanted = (1, self.layer(name).channels, positions, positions)
            shape, kind = described[name]
            if shape != wanted:
                raise ParameterError(
                    f"{self.name} gives {shape} at {name} for images of {side} pixels, "
                    f"but {wanted} was expected; give a multiple of "
                    f"{math.lcm(*(layer.stride for layer in self.layers))} pixels"
                )
            if kind != _FLOAT32:
                taps[name] = graph.to_float32(taps[name])
        return taps


def examine(
    path: Path,
    outputs: Sequence[str],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> weights_folder.Network:
    """Return the description of a network, with the shapes of `outputs` from OpenVINO.

    Parameters
    ----------
    path : Path
        A single ONNX file. Its input must be float32 (1, 3, height, width), RGB.
    outputs : sequence of str
        Names of values in the graph, final or intermediate, that are feature maps (1, channels,
        rows, columns).
    mean, std : tuple of float
        The normalisation of the pixels, on a scale from 0 to 1.

    Raises
    ------
    ParameterError
        If `outputs` is empty or has duplicates.
    """
    from patchbank.vision.backbones.graph import GraphWriter

    _check_normalisation(mean, std)
    if not outputs or len(set(outputs)) != len(outputs):
        raise ParameterError("outputs: name at least one, each only once")
    model = _parsed(_read(path), path)
    fixed = _fixed_side(model, path)
    _check_weights(model, path)
    _check_outputs(model, path, outputs)
    side = fixed or _PROBE_SIDE
    graph = GraphWriter(side)
    taps = _include(graph, model, mean, std, dict.fromkeys(outputs))
    described = _describe(graph, taps, path)
    layers = [_layer(path, name, *described[name], side) for name in outputs]
    return weights_folder.Network(
        mean, std, tuple(sorted(layers, key=lambda layer: layer.stride)), fixed
    )


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, _LARGEST_BYTES)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(f"{path}: cannot read the ONNX file ({reason})") from error


def _parsed(content: bytes, path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import inliner

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise WeightsError(f"{path}: not an ONNX file") from error
    if any(onnx.external_data_helper.uses_external_data(tensor) for tensor in _tensors(model)):
        raise WeightsError(
            f"{path}: its weights are in separate files; save it as a single file "
            "(onnx.save_model(..., save_as_external_data=False))"
        )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path}: not a valid ONNX file ({first[:200]})") from error
    versions = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    if versions.get("ai.onnx", 0) < _OLDEST_OPSET:
        raise WeightsError(
            f"{path}: opset {versions.get('ai.onnx', 0)} is too old; "
            f"export it again with opset {_OLDEST_OPSET} or newer"
        )
    return inliner.inline_local_functions(model) if model.functions else model


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor of a model, including those in attributes and subgraphs."""
    from onnx import TensorProto

    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        # A single message, or a repeated field.
        for inner in [value] if hasattr(value, "ListFields") else value:
            if isinstance(inner, TensorProto):
                yield inner
            else:
                yield from _tensors(inner)


def _fixed_side(model: ModelProto, path: Path) -> int | None:
    """Return the side of the images that the network accepts, None if it accepts any."""
    from onnx import TensorProto

    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise WeightsError(f"{path}: has {len(inputs)} inputs; give a network with one")
    tensor = inputs[0].type.tensor_type
    # Some exporters write 0 or -1 for a dynamic size.
    sizes = [size.dim_value if size.dim_value > 0 else None for size in tensor.shape.dim]
    if (
        tensor.elem_type != TensorProto.FLOAT
        or len(sizes) != 4
        or sizes[0] not in (None, 1)
        or sizes[1] not in (None, _CHANNELS)
        or sizes[2] != sizes[3]
    ):
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        shape = ", ".join("any" if size is None else str(size) for size in sizes)
        raise WeightsError(
            f"{path}: its input {inputs[0].name} is {kind} ({shape}); "
            "give a network that accepts float (1, 3, side, side), with a fixed or any side"
        )
    return sizes[2]


def _check_weights(model: ModelProto, path: Path) -> None:
    """Refuse NaN weights, which some operators hide; infinities are allowed, as masks use them."""
    from onnx import TensorProto, numpy_helper

    floating = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
    for tensor in _tensors(model):
        if tensor.data_type not in floating:
            continue
        if np.isnan(numpy_helper.to_array(tensor).astype(np.float64, copy=False)).any():
            raise WeightsError(
                f"{path}: {tensor.name or 'a constant'} has NaN weights; export the network again"
            )


def _check_outputs(model: ModelProto, path: Path, outputs: Sequence[str]) -> None:
    inside = [name for node in model.graph.node for name in node.output if name]
    offered = [value.name for value in model.graph.output]
    for name in outputs:
        if name not in inside:
            close = difflib.get_close_matches(name, inside, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ParameterError(
                f"{path}: has no value {name!r}{hint} (its outputs: {', '.join(offered[:8])})"
            )


def _include(
    graph: GraphWriter,
    model: ModelProto,
    mean: Sequence[float],
    std: Sequence[float],
    sides: Mapping[str, int | None],
) -> dict[str, str]:
    pixels = graph.normalise(
        graph.pixels, [255 * value for value in mean], [255 * value for value in std]
    )
    return graph.include(model, pixels, sides)


def _describe(
    graph: GraphWriter, taps: Mapping[str, str], path: Path
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and type of each value, according to OpenVINO."""
    from patchbank.vision.runtime import describe_outputs

    written = graph.to_bytes({f"tap {n}": (tap, None) for n, tap in enumerate(taps.values())})
    try:
        described = describe_outputs(written)
    except RuntimeError as error:
        # OpenVINO raises this for anything it does not support.
        raise WeightsError(f"{path}: OpenVINO cannot run it ({_last_line(error)})") from error
    return dict(zip(taps, described, strict=True))


def _layer(
    path: Path, name: str, shape: tuple[int, ...], kind: str, side: int
) -> weights_folder.NetworkLayer:
    if len(shape) != 4 or shape[0] != 1 or shape[2] != shape[3]:
        raise ParameterError(
            f"{path}: {name} is {shape} for an image of {side} pixels; "
            "give feature maps, (1, channels, rows, rows)"
        )
    if min(shape) < 1:
        raise ParameterError(
            f"{path}: the size of {name} for an image of {side} pixels is unknown; "
            "give another output"
        )
    if kind != _FLOAT32 and kind not in _CAST_TYPES:
        raise ParameterError(f"{path}: {name} is {kind}; give floating-point outputs")
    rows = shape[2]
    stride = max(round(side / rows), 1)
    if -(-side // stride) != rows:
        raise ParameterError(
            f"{path}: {name} has {rows} rows for an image of {side} pixels, so its stride is not "
            "a whole number; give another output"
        )
    return weights_folder.NetworkLayer(name, shape[1], stride)


def _check_normalisation(mean: Sequence[float], std: Sequence[float]) -> None:
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != _CHANNELS or not all(math.isfinite(value) for value in values):
            raise ParameterError(f"{name}: give three numbers: red, green and blue")
    if min(std) <= 0:
        raise ParameterError(f"std: give positive numbers, not {min(std)}")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
