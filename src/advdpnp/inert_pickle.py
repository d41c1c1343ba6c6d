"""Reads a pickle as data: what it would import or call becomes a placeholder, so that nothing of it runs.

`pickletools` takes the operations apart without carrying them out; a small stack machine does what they ask for with
lists and dictionaries, and notes the rest. Nothing is imported, called or hashed that the file names.
"""

import pickletools
from collections.abc import Callable, Mapping, Sized
from typing import IO, Any, BinaryIO, cast

# Checkpoints of ten thousand tensors, with their optimizer, have about a million operations.
_MOST_OPERATIONS = 10_000_000
# Largest piece that is read at once, and longest line of a pickle of protocol 0.
_MOST_BYTES, _LONGEST_LINE = 1 << 30, 1 << 16
# Values that may be copied for each byte of the pickle, and some more.
_MOST_COPIES, _ALLOWANCE = 8, 1 << 20
# Larger numbers could be chosen so that their hashes collide.
_LARGEST_KEY = 1 << 60

# Operations that push the value that is written in them.
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GETS, _PUTS = {"GET", "BINGET", "LONG_BINGET"}, {"PUT", "BINPUT", "LONG_BINPUT"}
_EXTENSIONS = {"EXT1", "EXT2", "EXT4"}

# Dictionaries of the standard library, which hold what checkpoints are made of.
_DICTIONARIES = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
_LISTS = {"builtins.set", "builtins.frozenset", "builtins.list", "__builtin__.set", "__builtin__.frozenset"}


class LimitError(ValueError):
    """A file would make far more of itself than it holds; the message says how."""


class GlobalName:
    """A class or function that a pickle names, as "argparse.Namespace"; it is not looked up."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Unmade:
    """What a pickle would make by calling something.

    Args:
        maker: what it would call, mostly a `GlobalName`.
        arguments: for the call.
    """

    __slots__ = ("arguments", "elements", "entries", "maker", "state")

    def __init__(self, maker: Any, arguments: Any = ()) -> None:
        self.maker, self.arguments = maker, arguments
        # What it would put into the object: by __setstate__ or into __dict__, as a dictionary's, as a list's.
        self.state: Any = None
        self.entries: dict[Any, Any] = {}
        self.elements: list[Any] = []

    def set_state(self, state: Any) -> None:
        """Note what the object would be given as its state."""
        self.state = state

    @property
    def kind(self) -> str:
        """Name of the class, or of the function that would make the object."""
        named = self.maker
        if isinstance(named, GlobalName) and named.text in ("copyreg._reconstructor", "copy_reg._reconstructor"):
            named = self.arguments[0] if isinstance(self.arguments, tuple) and self.arguments else named
        return named.text if isinstance(named, GlobalName) else "an object"


Rebuild = Mapping[str, Callable[..., Any]]


def read_pickle(
    stream: BinaryIO,
    rebuild: Rebuild,
    persistent: Callable[[Any], Any],
    look: Callable[[str, Any], None] = lambda name, arguments: None,
) -> Any:
    """One pickle of a stream, which stands behind it afterwards.

    Args:
        stream: at the pickle's first byte.
        rebuild: what to call with the arguments that the pickle has for a function or class of this name. These must be
            ready for any arguments, of any type.
        persistent: called with an identifier of something outside the pickle, for its value.
        look: called with the name of everything that the pickle would call, and the arguments for it.
    Returns:
        Lists, tuples, dictionaries, texts, bytes and numbers; `GlobalName` and `Unmade` for what it would import and
        make; and what `rebuild` and `persistent` gave. Sets are lists.
    Raises:
        ValueError, and whatever else a damaged or crafted pickle leads to, but it does nothing.
    """
    return _Machine(rebuild, persistent, look).run(_Bounded(stream))


class _Bounded:
    """A stream of which no single read takes all memory; it counts what is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.count = stream, 0

    def read(self, count: int) -> bytes:
        if count > _MOST_BYTES:
            raise ValueError(f"it has a piece of {count} bytes")
        found = self.stream.read(count)
        self.count += len(found)
        return found

    def readline(self) -> bytes:
        found = self.stream.readline(_LONGEST_LINE)
        self.count += len(found)
        return found


class _Machine:
    def __init__(self, rebuild: Rebuild, persistent: Callable[[Any], Any], look: Callable[[str, Any], None]) -> None:
        self.rebuild, self.persistent, self.look = rebuild, persistent, look
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def run(self, stream: _Bounded) -> Any:
        for count, (operation, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], stream))):
            if count == _MOST_OPERATIONS:
                raise ValueError(f"it has more than {_MOST_OPERATIONS:,} operations")
            if operation.name == "STOP":
                return self.stack.pop()
            self.do(operation.name, argument)
            # What is made of a value is as long as it; a few bytes could have that done again and again.
            if self.copied > _MOST_COPIES * stream.count + _ALLOWANCE:
                raise LimitError("it copies the same values again and again")
        raise ValueError("it has no end")

    def do(self, name: str, argument: Any) -> None:
        push = self.stack.append
        if name in _LITERALS:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _GETS:
            push(self.memo[argument])
        elif name in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name == "EMPTY_TUPLE":
            push(())
        elif name in _TUPLES:
            self.stack[-_TUPLES[name] :] = [tuple(self.taken(_TUPLES[name]))]
        elif name in _EXTENSIONS:
            push(GlobalName(f"extension {argument}"))
        elif name == "GLOBAL":
            push(GlobalName(argument.replace(" ", ".", 1)))
        elif name == "PERSID":
            push(self.persistent(argument))
        elif name not in ("PROTO", "FRAME"):
            getattr(self, f"do_{name.lower()}", self.refuse)()
            if name == "INST":
                self.stack[-1].maker = GlobalName(argument.replace(" ", ".", 1))

    def refuse(self) -> None:
        raise ValueError("it has an operation that no checkpoint needs")

    def taken(self, count: int) -> list[Any]:
        """The last values on the stack, which stay there."""
        if len(self.stack) < count:
            raise ValueError("it takes more values than there are")
        return self.stack[-count:]

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.marked.pop()
        return values

    def made(self, maker: Any, arguments: Any) -> Any:
        name = maker.text if isinstance(maker, GlobalName) else ""
        self.look(name, arguments)
        if isinstance(arguments, tuple):
            self.copied += sum(len(value) for value in arguments if isinstance(value, Sized))
        if name in self.rebuild:
            if not isinstance(arguments, tuple):
                raise ValueError(f"it calls {name} without arguments")
            return self.rebuild[name](*arguments)
        if name in _LISTS:
            return list(arguments[0]) if arguments and isinstance(arguments[0], list) else []
        if name in _DICTIONARIES:
            # Files of Python 2 have [key, value] pairs as argument.
            pairs = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else []
            return {_key(key): value for key, value in pairs}
        return Unmade(maker, arguments)

    def do_mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def do_pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def do_pop_mark(self) -> None:
        self.since_mark()

    def do_dup(self) -> None:
        self.stack.append(self.stack[-1])

    def do_empty_list(self) -> None:
        self.stack.append([])

    do_empty_set = do_empty_list

    def do_empty_dict(self) -> None:
        self.stack.append({})

    def do_list(self) -> None:
        values = self.since_mark()
        self.stack.append(values)

    do_frozenset = do_list

    def do_tuple(self) -> None:
        values = self.since_mark()
        self.stack.append(tuple(values))

    def do_dict(self) -> None:
        values = self.since_mark()
        self.stack.append({})
        self.put(values)

    def do_append(self) -> None:
        self.add([self.stack.pop()])

    def do_appends(self) -> None:
        self.add(self.since_mark())

    do_additems = do_appends

    def add(self, values: list[Any]) -> None:
        target = self.stack[-1]
        target = target.elements if isinstance(target, Unmade) else target
        if not isinstance(target, list):
            raise ValueError("it appends to what is no list")
        target.extend(values)

    def do_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.put([key, value])

    def do_setitems(self) -> None:
        self.put(self.since_mark())

    def put(self, values: list[Any]) -> None:
        target = self.stack[-1]
        target = target.entries if isinstance(target, Unmade) else target
        if not isinstance(target, dict):
            raise ValueError("it puts entries into what is no dictionary")
        target.update((_key(key), value) for key, value in zip(values[::2], values[1::2], strict=True))

    def do_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("it names a class by what is no text")
        self.stack.append(GlobalName(f"{module}.{name}"))

    def do_reduce(self) -> None:
        arguments, maker = self.stack.pop(), self.stack.pop()
        self.stack.append(self.made(maker, arguments))

    do_newobj = do_reduce

    def do_newobj_ex(self) -> None:
        keywords, arguments, maker = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append(Unmade(maker, (arguments, keywords)))

    def do_obj(self) -> None:
        maker, *arguments = self.since_mark()
        self.stack.append(self.made(maker, tuple(arguments)))

    def do_inst(self) -> None:
        arguments = self.since_mark()
        self.stack.append(Unmade(None, tuple(arguments)))

    def do_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        # Of a dictionary or tensor, these are attributes, such as the versions of a state dict's layers.
        if hasattr(target, "set_state"):
            target.set_state(state)

    def do_binpersid(self) -> None:
        self.stack.append(self.persistent(self.stack.pop()))


def _key(key: Any) -> Any:
    """A dictionary's key: what could take long to hash, as nested tuples do, is wrapped."""
    if isinstance(key, (str, bytes)) or (isinstance(key, int) and abs(key) < _LARGEST_KEY):
        return key
    return Unmade(None, (key,))
