"""Write networks as ONNX graphs, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, checker, compose, helper, numpy_helper

# Opset 13 has all operators used here, and every supported OpenVINO reads it.
_OPSET: Final = 13
_IR_VERSION: Final = 8

INPUT_NAME: Final = "image"
_DTYPES: Final = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


class GraphWriter:
    """A builder of an ONNX graph; every method adds a node and returns its output's name.

    The input `image` is (1, side, side, 3), RGB; `pixels` is the same as float32
    (1, 3, side, side), values 0 to 255.

    Parameters
    ----------
    side : int
        Height and width of the input in pixels.
    dtype : str
        Type of the input: ``"uint8"`` or ``"float32"``.
    """

    def __init__(self, side: int, dtype: str = "uint8") -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._sides: dict[str, int] = {}
        self._side = side
        self._dtype = _DTYPES[dtype]
        self._opset = _OPSET
        as_float = self.node("Cast", [INPUT_NAME], to=TensorProto.FLOAT)
        self.pixels = self.node("Transpose", [as_float], side=side, perm=[0, 3, 1, 2])

    def side(self, value: str) -> int:
        """Return the height and width of a square feature map."""
        return self._sides[value]

    def node(
        self, operator: str, inputs: Sequence[str], side: int | None = None, **attributes: Any
    ) -> str:
        """Add any operator with one output; `side` is the height of its output, if known."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(operator, list(inputs), [name], name=name, **attributes)
        )
        if side is not None:
            self._sides[name] = side
        return name

    def constant(self, array: npt.NDArray[Any]) -> str:
        """Add a constant array."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def to_float32(self, value: str) -> str:
        """Add a cast to float32."""
        return self.node("Cast", [value], self._sides.get(value), to=TensorProto.FLOAT)

    def normalise(self, value: str, mean: Sequence[float], scale: Sequence[float]) -> str:
        """Add ``(value - mean) / scale``, each with one number per channel or for all."""
        shape = (1, -1, 1, 1)
        centred = self.node(
            "Sub",
            [value, self.constant(np.asarray(mean, np.float32).reshape(shape))],
            self.side(value),
        )
        factor = 1.0 / np.asarray(scale, np.float64)
        return self.node(
            "Mul",
            [centred, self.constant(factor.astype(np.float32).reshape(shape))],
            self.side(value),
        )

    def convolution(
        self,
        value: str,
        kernel: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32],
        *,
        stride: int = 1,
        groups: int = 1,
        padding: int | None = None,
    ) -> str:
        """Add a convolution.

        `padding` is the number of zeros on every side. Without it, padding is TensorFlow's "same",
        with an odd zero on the right and below.
        """
        size = kernel.shape[-1]
        before = self.side(value)
        if padding is None:
            after = -(-before // stride)
            missing = max((after - 1) * stride + size - before, 0)
            first, last = missing // 2, missing - missing // 2
        else:
            first = last = padding
            after = (before + 2 * padding - size) // stride + 1
        return self.node(
            "Conv",
            [value, self.constant(kernel), self.constant(bias)],
            after,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[first, first, last, last],
            group=groups,
        )

    def relu6(self, value: str) -> str:
        """Add ``min(max(value, 0), 6)``."""
        bounds = [self.constant(np.array(bound, np.float32)) for bound in (0.0, 6.0)]
        return self.node("Clip", [value, *bounds], self.side(value))

    def relu(self, value: str) -> str:
        """Add ``max(value, 0)``."""
        return self.node("Relu", [value], self.side(value))

    def max_pool(self, value: str, size: int, *, stride: int, padding: int) -> str:
        """Add the maximum over `size` x `size` positions, ignoring those outside the map."""
        return self.node(
            "MaxPool",
            [value],
            (self.side(value) + 2 * padding - size) // stride + 1,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[padding] * 4,
        )

    def add(self, first: str, second: str) -> str:
        """Add an element-wise sum."""
        return self.node("Add", [first, second], self.side(first))

    def average_pool(self, value: str, size: int) -> str:
        """Add the mean over `size` x `size` positions with stride 1 and zeros outside the map."""
        pad = size // 2
        return self.node(
            "AveragePool",
            [value],
            self.side(value),
            kernel_shape=[size, size],
            strides=[1, 1],
            pads=[pad] * 4,
            count_include_pad=1,
        )

    def resize(self, value: str, side: int) -> str:
        """Add a bilinear resize (half-pixel centres) to `side` x `side`."""
        if self.side(value) == side:
            return value
        factor = side / self.side(value)
        scales = self.constant(np.array([1.0, 1.0, factor, factor], np.float32))
        if round(self.side(value) * float(np.float32(factor))) != side or factor != int(factor):
            # With a fractional ratio, only explicit sizes are exact.
            half = self.node(
                "Slice",
                [
                    self.node("Shape", [value]),
                    self.constant(np.array([0], np.int64)),
                    self.constant(np.array([2], np.int64)),
                ],
            )
            sizes = self.node(
                "Concat", [half, self.constant(np.array([side, side], np.int64))], axis=0
            )
            inputs = [value, "", "", sizes]
        else:
            inputs = [value, "", scales]
        return self.node(
            "Resize", inputs, side, mode="linear", coordinate_transformation_mode="half_pixel"
        )

    def grid_means(self, value: str, cells: int) -> str:
        """Add the means over `cells` x `cells` parts of the map, which may overlap."""
        side = self.side(value)
        size = -(-side // cells)
        step = 1 if cells == 1 else (side - size) // (cells - 1)
        return self.node(
            "AveragePool",
            [value],
            cells,
            kernel_shape=[size, size],
            strides=[step, step],
            pads=[0] * 4,
        )

    def concatenate(self, values: Sequence[str], axis: int = 1) -> str:
        """Add a concatenation, by default of channels."""
        if len(values) == 1:
            return values[0]
        return self.node("Concat", values, self._sides.get(values[0]), axis=axis)

    def include(
        self, network: ModelProto, value: str, sides: Mapping[str, int | None]
    ) -> dict[str, str]:
        """Add a whole network with our opset or a newer one.

        Parameters
        ----------
        network : onnx.ModelProto
            The network, which is changed in place.
        value : str
            The input of the network.
        sides : mapping of str to int or None
            The requested values of the network, with their heights if known.

        Returns
        -------
        dict of str to str
            The names of the requested values in this graph.
        """
        # Prefixed, because its names could equal ours.
        prefix = f"network_{len(self._nodes)}/"
        compose.add_prefix(network, prefix, inplace=True)
        constants = network.graph.initializer
        inputs = {value_info.name for value_info in network.graph.input}
        (entry,) = inputs - {constant.name for constant in constants}
        self._nodes.append(helper.make_node("Identity", [value], [entry], name=f"{prefix}entry"))
        self._nodes.extend(network.graph.node)
        self._constants.extend(constants)
        self._opset = max(self._opset, *(opset.version for opset in network.opset_import))
        names = {name: f"{prefix}{name}" for name in sides}
        self._sides.update({names[name]: side for name, side in sides.items() if side is not None})
        return names

    def to_bytes(self, outputs: Mapping[str, tuple[str, Sequence[int] | None]]) -> bytes:
        """Return the finished model.

        Parameters
        ----------
        outputs : mapping of str to (str, sequence of int or None)
            The name of each output, its value, and its shape if known; all float32.
        """
        nodes = list(self._nodes)
        infos = []
        for name, (value, shape) in outputs.items():
            nodes.append(helper.make_node("Identity", [value], [name], name=name))
            infos.append(
                helper.make_tensor_value_info(
                    name, TensorProto.FLOAT, None if shape is None else list(shape)
                )
            )
        image = helper.make_tensor_value_info(
            INPUT_NAME, self._dtype, [1, self._side, self._side, 3]
        )
        graph = helper.make_graph(nodes, "patchbank", [image], infos, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)])
        model.ir_version = (
            _IR_VERSION
            if self._opset == _OPSET
            else helper.find_min_ir_version_for(model.opset_import)
        )
        if all(shape is not None for _, shape in outputs.values()):
            # The checker refuses outputs with unknown shapes.
            checker.check_model(model)
        return bytes(model.SerializeToString())
