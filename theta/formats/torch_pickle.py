"""The pickle inside a torch file, read as data: nothing is imported and nothing is called.

Owns the allow-list of globals, the small stack machine over pickle's opcodes, and the nodes it
builds. Must not know zip files, storages' bytes or names. What a pickle may contain is plain
containers, scalars, tensors, and a few opaque values (arrays, random states, devices); any other
global is an `UnsafePickle` that names it.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass

from theta.formats.container_names import Items, Mapping
from theta_store.errors import MalformedFile, UnsafePickle

LONG_BYTES = 4096
PROTOCOLS = range(2, 6)

# Storage classes and dtypes of torch, by the names that pickles use.
STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
}
DTYPES = {
    "float64": "F64",
    "double": "F64",
    "float32": "F32",
    "float": "F32",
    "float16": "F16",
    "half": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "long": "I64",
    "int32": "I32",
    "int": "I32",
    "int16": "I16",
    "short": "I16",
    "int8": "I8",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
    "complex32": "C32",
    "chalf": "C32",
    "complex64": "C64",
    "cfloat": "C64",
    "complex128": "C128",
    "cdouble": "C128",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "float4_e2m1fn_x2": "OPAQUE",
}
_UTILS = "torch._utils"
_PASSIVE = frozenset(
    {
        ("torch", "Size"),
        ("torch", "device"),
        ("torch", "Generator"),
        ("torch.serialization", "_get_layout"),
        ("torch", "per_tensor_affine"),
        ("torch", "preserve_format"),
        ("torch", "contiguous_format"),
        ("torch", "channels_last"),
        ("torch", "strided"),
        ("torch", "sparse_coo"),
        ("torch", "sparse_csr"),
        ("torch", "Tensor"),
        ("torch.nn.parameter", "Parameter"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("_codecs", "encode"),
        ("builtins", "set"),
        ("builtins", "frozenset"),
        ("builtins", "bytearray"),
        ("builtins", "complex"),
        ("builtins", "slice"),
        ("builtins", "range"),
        ("__builtin__", "set"),
        ("__builtin__", "frozenset"),
        ("__builtin__", "bytearray"),
        ("__builtin__", "complex"),
        ("datetime", "datetime"),
        ("datetime", "timedelta"),
        *(
            (f"numpy.{core}.{module}", name)
            for core in ("core", "_core")
            for module, name in (
                ("multiarray", "_reconstruct"),
                ("multiarray", "scalar"),
                ("numeric", "_frombuffer"),
            )
        ),
    }
)
_ORDERED = {("collections", "OrderedDict"), ("builtins", "dict"), ("__builtin__", "dict")}
_DEFAULT = {("collections", "defaultdict"), ("collections", "Counter")}
_LISTS = {("builtins", "list"), ("builtins", "tuple"), ("__builtin__", "list")}
_MARK = object()


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle refers to; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of bytes kept beside the pickle; ``dtype`` None is untyped, ``count`` in elements."""

    key: str
    dtype: str | None
    count: int


@dataclass(eq=False, slots=True)
class TensorNode:
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(eq=False, slots=True)
class Opaque:
    """A value that is kept, not understood."""

    kind: Global
    arguments: object


def read_pickle(data: bytes, where: str) -> object:
    """Return the tree of nodes that a pickle describes.

    A pickle that is broken, or deeper than it is long, is a `MalformedFile`; one with a global
    outside the allow-list, or with an opcode that only such pickles need, an `UnsafePickle`.
    """
    machine = _Machine(where)
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name == "STOP":
                if position is None or position + 1 != len(data):
                    raise MalformedFile(f"{where}: bytes follow the end of the pickle")
                return machine.pop()
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeError) as error:
        if isinstance(error, MalformedFile):
            raise
        raise MalformedFile(f"{where} is not a valid pickle: {error}") from None
    raise MalformedFile(f"{where} is not a valid pickle: it does not end")


class _Machine:
    """Pickle's stack and memo; values are nodes and plain scalars."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def pop(self) -> object:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value is expected")
        return value

    def step(self, name: str, argument: object) -> None:
        """Carry one opcode out."""
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            self._stack.append(_checked(argument))
        elif name in _MEMOS:
            self._memo[argument if isinstance(argument, int) else -1] = self._stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            self._stack.append(self._memo[argument])  # type: ignore[index]
        elif name.startswith("TUPLE"):
            self._tuple(name)
        elif name == "PROTO":
            if argument not in PROTOCOLS:
                raise ValueError(f"protocol {argument}")
        elif name != "FRAME":
            self._act(name, argument)

    def _tuple(self, name: str) -> None:
        count = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}.get(name)
        if count is None:
            self._stack.append(Items(self._marked()))
            return
        items = [self.pop() for _ in range(count)]
        self._stack.append(Items(items[::-1]))

    def _act(self, name: str, argument: object) -> None:
        action = _ACTIONS.get(name)
        if action is None:
            raise UnsafePickle(f"{self._where} uses the pickle opcode {name}, which theta refuses")
        action(self, argument)

    def _marked(self) -> list[object]:
        items: list[object] = []
        while (value := self._stack.pop()) is not _MARK:
            items.append(value)
        return items[::-1]

    def mark(self, _: object) -> None:
        self._stack.append(_MARK)

    def drop(self, _: object) -> None:
        self._stack.pop()

    def drop_marked(self, _: object) -> None:
        self._marked()

    def duplicate(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def append(self, _: object) -> None:
        value = self.pop()
        _items(self._stack[-1]).append(value)

    def extend(self, _: object) -> None:
        values = self._marked()
        _items(self._stack[-1]).extend(values)

    def set_item(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        _pairs(self._stack[-1]).append((key, value))

    def set_items(self, _: object) -> None:
        _pairs_from(self._marked(), self._target())

    def make_list(self, _: object) -> None:
        self._stack.append(Items(self._marked()))

    def make_dict(self, _: object) -> None:
        node = Mapping()
        _pairs_from(self._marked(), node)
        self._stack.append(node)

    def global_(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self._stack.append(self._allowed(Global(module, name)))

    def stack_global(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a global without a name")
        self._stack.append(self._allowed(Global(module, name)))

    def persistent(self, _: object) -> None:
        self._stack.append(_storage(self.pop()))

    def reduce(self, _: object) -> None:
        arguments, callee = self.pop(), self.pop()
        self._stack.append(self._reduced(callee, arguments))

    def build(self, _: object) -> None:
        state = self.pop()
        target = self._stack[-1]
        if isinstance(target, Opaque):
            self._stack[-1] = target
            target.arguments = Items([target.arguments, state])
        elif not isinstance(target, Mapping | TensorNode):
            raise UnsafePickle(f"{self._where} sets the state of {_name(target)}")

    def _target(self) -> Mapping:
        target = self._stack[-1]
        if not isinstance(target, Mapping):
            raise ValueError("items are set on something that is no dict")
        return target

    def _allowed(self, found: Global) -> Global:
        pair = (found.module, found.name)
        if pair in _PASSIVE or pair in _ORDERED | _DEFAULT | _LISTS or pair in _BUILDERS:
            return found
        if _storage_dtype(found) is not _MARK:
            return found
        if found.module == "torch" and found.name in DTYPES:
            return found
        if found.module == "numpy.dtypes" and found.name.endswith("DType"):
            return found
        raise UnsafePickle(
            f"{self._where} names {found}, which is outside the allow-list; it was not executed"
        )

    def _reduced(self, callee: object, arguments: object) -> object:
        if not isinstance(callee, Global) or not isinstance(arguments, Items):
            raise UnsafePickle(f"{self._where} calls {_name(callee)}")
        pair = (callee.module, callee.name)
        if pair in _BUILDERS:
            return _BUILDERS[pair](arguments.items)
        if pair in _ORDERED:
            return _mapping(arguments.items)
        if pair in _DEFAULT:
            return Mapping()
        if pair in _LISTS:
            return Items(list(_items(arguments.items[0])) if arguments.items else [])
        if pair in {("builtins", "set"), ("__builtin__", "set")}:
            return Items(list(_items(arguments.items[0])) if arguments.items else [])
        return Opaque(callee, arguments)


def _name(value: object) -> str:
    return str(value) if isinstance(value, Global) else type(value).__name__


def _checked(argument: object) -> object:
    if isinstance(argument, int) and argument.bit_length() > 8 * LONG_BYTES:
        raise ValueError("a number of more than 4096 bytes")
    return argument


def _items(node: object) -> list[object]:
    if not isinstance(node, Items):
        raise ValueError("something that is no list is used as one")
    return node.items


def _pairs(node: object) -> list[tuple[object, object]]:
    if not isinstance(node, Mapping):
        raise ValueError("something that is no dict is used as one")
    return node.items


def _pairs_from(values: list[object], node: Mapping) -> None:
    if len(values) % 2:
        raise ValueError("a key without a value")
    node.items.extend(zip(values[::2], values[1::2], strict=True))


def _mapping(arguments: list[object]) -> Mapping:
    node = Mapping()
    if arguments and isinstance(arguments[0], Mapping):
        node.items += arguments[0].items
    elif arguments:
        for pair in _items(arguments[0]):
            key, value = _items(pair)
            node.items.append((key, value))
    return node


def _storage_dtype(found: object) -> object:
    """Return the dtype of a storage class, None for the untyped one, `_MARK` for no class."""
    if not isinstance(found, Global) or found.module not in {
        "torch",
        "torch.storage",
        "torch.cuda",
    }:
        return _MARK
    if found.name in {"UntypedStorage", "_UntypedStorage", "TypedStorage", "_TypedStorage"}:
        return None
    return STORAGES.get(found.name, _MARK)


def _storage(pid: object) -> Storage:
    tag, kind, key, _, count = _items(pid)[:5]
    element = _storage_dtype(kind)
    if tag != "storage" or element is _MARK or not isinstance(key, str):
        raise ValueError("a persistent id that names no storage")
    return Storage(key, element if isinstance(element, str) else None, _whole(count))


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a size that is no whole number")
    return value


def _wholes(value: object) -> tuple[int, ...]:
    if isinstance(value, Opaque):
        (value,) = _items(value.arguments)
    return tuple(_whole(item) for item in _items(value))


def _tensor(arguments: list[object]) -> TensorNode:
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    element = storage.dtype or "U8"
    return _view(storage, element, offset, shape, strides)


def _tensor_v3(arguments: list[object]) -> TensorNode:
    storage, offset, shape, strides, _, _, kind = arguments[:7]
    if not isinstance(storage, Storage) or not isinstance(kind, Global):
        raise ValueError("a tensor without a storage")
    return _view(storage, DTYPES[kind.name], offset, shape, strides)


def _view(
    storage: Storage, element: str, offset: object, shape: object, strides: object
) -> TensorNode:
    node = TensorNode(storage, element, _whole(offset), _wholes(shape), _wholes(strides))
    if len(node.shape) != len(node.strides) or len(node.shape) > 64:
        raise ValueError("a tensor whose shape and strides differ in length")
    return node


def _parameter(arguments: list[object]) -> object:
    if not isinstance(arguments[0], TensorNode):
        raise ValueError("a parameter that is no tensor")
    return arguments[0]


def _subclass(arguments: list[object]) -> object:
    """``_rebuild_from_type_v2(function, type, arguments, state)``: only plain tensors' types."""
    function, kind, inner = arguments[:3]
    plain = {Global("torch", "Tensor"), Global("torch.nn.parameter", "Parameter")}
    if not isinstance(function, Global) or kind not in plain:
        raise UnsafePickle(f"the pickle rebuilds a tensor of type {_name(kind)}")
    return _BUILDERS[function.module, function.name](_items(inner))


def _sparse(arguments: list[object]) -> object:
    indices, values = _items(arguments[1])[:2]
    return Mapping([("indices", indices), ("values", values)])


_BUILDERS: dict[tuple[str, str], Callable[[list[object]], object]] = {
    (_UTILS, "_rebuild_tensor"): _tensor,
    (_UTILS, "_rebuild_tensor_v2"): _tensor,
    (_UTILS, "_rebuild_tensor_v3"): _tensor_v3,
    (_UTILS, "_rebuild_parameter"): _parameter,
    (_UTILS, "_rebuild_parameter_with_state"): _parameter,
    (_UTILS, "_rebuild_sparse_tensor"): _sparse,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
}
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": Mapping,
    "EMPTY_LIST": Items,
    "EMPTY_TUPLE": Items,
    "EMPTY_SET": Items,
}
_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING"}
    | {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_MEMOS = frozenset({"BINPUT", "LONG_BINPUT"})
_ACTIONS: dict[str, Callable[[_Machine, object], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_marked,
    "DUP": _Machine.duplicate,
    "MEMOIZE": _Machine.memoize,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "ADDITEMS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "LIST": _Machine.make_list,
    "DICT": _Machine.make_dict,
    "FROZENSET": _Machine.make_list,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "BINPERSID": _Machine.persistent,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "BUILD": _Machine.build,
}
