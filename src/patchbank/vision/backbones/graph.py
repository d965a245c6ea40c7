"""Write networks as ONNX graphs, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, checker, helper, numpy_helper

# Opset 13 has all we use and is read by every OpenVINO that we accept.
_OPSET: Final = 13
_IR_VERSION: Final = 8

INPUT_NAME: Final = "image"
_DTYPES: Final = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


class GraphWriter:
    """Builds one ONNX graph; every method adds a node and returns its output's name.

    The input `image` is (1, side, side, 3), RGB; `pixels` is the same as float32
    (1, 3, side, side), values 0 to 255.

    Parameters
    ----------
    side : int
        Height and width of the input in pixels.
    dtype : str
        Of the input: ``"uint8"`` or ``"float32"``.
    """

    def __init__(self, side: int, dtype: str = "uint8") -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._sides: dict[str, int] = {}
        self._side = side
        self._dtype = _DTYPES[dtype]
        as_float = self.node("Cast", [INPUT_NAME], to=TensorProto.FLOAT)
        self.pixels = self.node("Transpose", [as_float], side=side, perm=[0, 3, 1, 2])

    def side(self, value: str) -> int:
        """Return height (which is the width) of a feature map."""
        return self._sides[value]

    def node(
        self, operator: str, inputs: Sequence[str], side: int | None = None, **attributes: Any
    ) -> str:
        """Add any operator of one output; `side` is its output's height, kept for later nodes."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(operator, list(inputs), [name], name=name, **attributes)
        )
        if side is not None:
            self._sides[name] = side
        return name

    def constant(self, array: npt.NDArray[Any]) -> str:
        """Add an array."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def normalise(self, value: str, mean: Sequence[float], scale: Sequence[float]) -> str:
        """Add ``(value - mean) / scale``, each with one number a channel or one for all."""
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
    ) -> str:
        """Add a convolution with TensorFlow's "same" padding: the surplus goes right and below."""
        size = kernel.shape[-1]
        before = self.side(value)
        after = -(-before // stride)
        padding = max((after - 1) * stride + size - before, 0)
        first, last = padding // 2, padding - padding // 2
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

    def add(self, first: str, second: str) -> str:
        """Add an element-wise sum."""
        return self.node("Add", [first, second], self.side(first))

    def average_pool(self, value: str, size: int) -> str:
        """Add a mean over `size` x `size` positions, stride 1, zeros outside the map, same side."""
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
            # Only the sizes say exactly where a ratio that is no whole number leads.
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
        """Add the means over `cells` x `cells` parts of the map, which overlap where it is odd."""
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

    def to_bytes(self, outputs: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
        """Return the finished model.

        Parameters
        ----------
        outputs : mapping of str to (str, sequence of int)
            Each output's name, the value it shows, and its shape; float32.
        """
        nodes = list(self._nodes)
        infos = []
        for name, (value, shape) in outputs.items():
            nodes.append(helper.make_node("Identity", [value], [name], name=name))
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        image = helper.make_tensor_value_info(
            INPUT_NAME, self._dtype, [1, self._side, self._side, 3]
        )
        graph = helper.make_graph(nodes, "patchbank", [image], infos, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
        model.ir_version = _IR_VERSION
        checker.check_model(model)
        return bytes(model.SerializeToString())
