"""The unpickler for checkpoints of PyTorch and NumPy: a small machine that can build data and nothing else.

`pickletools` splits the stream into opcodes, and the machine interprets the few opcodes that data needs. Python's own
unpickler never runs. The machine imports nothing, accesses no attributes, and calls only the constructors of a table.
"""

import pickletools
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

Build = Callable[..., Any]
_SIMPLE = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_LITERALS |= {"SHORT_BINSTRING", "BINSTRING"}  # strings of Python 2
_LITERALS |= {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8"}  # values of NumPy arrays
_FRESH = {"EMPTY_DICT": dict, "EMPTY_LIST": list}
_IGNORED = {"PROTO", "FRAME"}
MOST_DIMENSIONS = 64
"""The most axes that an array of NumPy has."""
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = 120
_MOST_PARTS, _MOST_MARKS = 5_000_000, 10_000
_KEYS = (str, int, float, type(None))  # no tuples: the hash of a deeply nested one overflows the C stack


class UnsafePickleError(ValueError):
    """A pickle that asks for anything other than data."""


class BrokenPickleError(ValueError):
    """A pickle whose opcodes do not fit together."""


@dataclass(frozen=True)
class Constructor:
    """A name that the pickle may use. `opcode` calls `build`, which is None for a name that only stands for itself."""

    name: str
    build: Build | None = None
    opcode: str = "REDUCE"


@dataclass
class Shell:
    """An object that is made empty and whose `state` is set later, such as a parameter of PyTorch before 0.2."""

    state: Any = None


@dataclass
class _Machine:
    constructors: Mapping[str, Constructor]
    persistent: Callable[[Any], Any]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def take(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise BrokenPickleError("its stack runs empty")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def since_mark(self) -> list[Any]:
        return self.take(len(self.stack) - self.marks.pop())

    def find(self, name: str) -> Constructor:
        if name not in self.constructors:
            raise UnsafePickleError(f"it asks for {shown(name)}, which is not part of a tensor or container")
        return self.constructors[name]

    def call(self, opcode: str) -> Any:
        target, arguments = self.take(2)
        name = getattr(target, "name", type(target).__name__)
        if not isinstance(target, Constructor) or target.build is None or not isinstance(arguments, tuple):
            raise UnsafePickleError(f"it calls {shown(name)}, which it may not call")
        if target.opcode != opcode:
            raise UnsafePickleError(f"it calls {shown(name)} by the opcode {opcode}, which plain data does not need")
        return target.build(*arguments)

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        keys, values = pairs[::2], pairs[1::2]
        if not isinstance(target, dict) or not all(isinstance(key, _KEYS) for key in keys):
            raise BrokenPickleError(
                "it sets an item of something other than a dict, or a key is neither text nor number"
            )
        target.update(zip(keys, values, strict=True))

    def set_state(self, state: Any) -> None:
        """Set the state of a `Shell`. Attributes of other objects, such as a state dict's _metadata, are dropped."""
        if isinstance(self.stack[-1], Shell):
            self.stack[-1].state = state

    def append(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise BrokenPickleError("it appends to something other than a list")
        self.stack[-1].extend(values)

    def step(self, name: str, arg: Any) -> None:
        """Interpret one opcode. Only the stack, the marks and the memo change."""
        push = self.stack.append
        match name:
            case "MARK":
                self.marks.append(len(self.stack))
            case "TUPLE":
                push(tuple(self.since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(self.take(int(name[-1]))))
            case "APPEND":
                self.append(self.take(1))
            case "APPENDS":
                self.append(self.since_mark())
            case "SETITEM":
                self.set_items(self.take(2))
            case "SETITEMS":
                self.set_items(self.since_mark())
            case "BINPUT" | "LONG_BINPUT":
                self.memo[arg] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self.memo[arg])
            case "GLOBAL":
                push(self.find(".".join(arg.split(" "))))
            case "STACK_GLOBAL":
                push(self.find(".".join(self.take(2))))
            case "REDUCE" | "NEWOBJ":
                push(self.call(name))
            case "BINPERSID":
                push(self.persistent(*map(check_storage, self.take(1))))
            case "BUILD":
                self.set_state(*self.take(1))
            case _:
                raise UnsafePickleError(f"it uses the opcode {name}, which plain data does not need")


def shown(value: Any) -> str:
    """Write a value for a message: short, however long, deep or often repeated its parts are."""
    return _SHOWN.repr(value)


def check_storage(persistent_id: Any) -> tuple[Any, ...]:
    """Return a persistent id that may be one of a storage: a tuple of up to six names and numbers.

    Raises BrokenPickleError for any other, which could be deep enough, or hold itself often enough, to stop who prints
    or compares it.
    """
    simple = (str, int, type(None), Constructor)
    if not isinstance(persistent_id, tuple) or not 1 <= len(persistent_id) <= 6:
        raise BrokenPickleError("it names a storage in an unknown way")
    if not all(isinstance(part, simple) for part in persistent_id[:5]) or isinstance(persistent_id[-1], list | dict):
        raise BrokenPickleError("it names a storage in an unknown way")
    return persistent_id


def loads(data: bytes | BinaryIO, constructors: Mapping[str, Constructor], persistent: Callable[[Any], Any]) -> Any:
    """Load the object in `data`: dicts, lists, tuples, numbers, strings, and the objects that `constructors` build.

    A file is read from its current position to the end of one pickle.

    `constructors` maps "module.name" to the constructor that takes its place. `persistent` resolves persistent ids
    (tensor storages).

    Raises UnsafePickleError, which names the object that the pickle asks for, and BrokenPickleError. ValueErrors of
    constructors are raised as BrokenPickleError.
    """
    machine = _Machine(constructors, persistent)
    try:
        for number, (opcode, arg, _) in enumerate(pickletools.genops(data)):
            name = opcode.name
            if number > _MOST_PARTS or len(machine.marks) > _MOST_MARKS:
                raise BrokenPickleError("it has more parts than any network")
            if name == "STOP":
                return machine.stack[-1]
            if name in _SIMPLE:
                machine.stack.append(_SIMPLE[name])
            elif name in _LITERALS:
                machine.stack.append(arg)
            elif name in _FRESH:
                machine.stack.append(_FRESH[name]())
            elif name not in _IGNORED:
                machine.step(name, arg)
    except (LookupError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise BrokenPickleError(f"its opcodes do not fit together ({type(error).__name__})") from error
    except ValueError as error:
        if isinstance(error, (UnsafePickleError, BrokenPickleError)):
            raise
        raise BrokenPickleError(str(error)) from error
    raise BrokenPickleError("it has no end")
