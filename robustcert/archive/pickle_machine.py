"""A pickle read symbolically: nothing is imported, called or built.

The reading knows only the opcodes that torch.jit.save writes. It follows stack and memo
as the loader would, so that what a tensor claims about its bytes can be compared with
the bytes that are there.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from collections.abc import Container as Membership
from typing import Any, Final, final

from robustcert.archive import pickle_calls, wording
from robustcert.archive.pickle_values import Container, Global, Storage, depth_of
from robustcert.errors import ArchiveError

PROTOCOL = 2
TEXT_LENGTH = 2**16
NUMBER_BITS = 64


@final
class PickleMachine:
    """One symbolic reading of one pickle.

    Args:
        types: the ``__torch__`` type names the archive's code defines.
        depth: containers nested deeper than this are refused.
    """

    def __init__(self, types: Membership[str], depth: int) -> None:
        self._types = types
        self._depth = depth
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self.storages: list[Storage] = []

    def read(self, data: bytes) -> tuple[Storage, ...]:
        """Walk the pickle; the storages its tensors lie in.

        Raises:
            ArchiveError: an opcode, name or value that torch.jit.save does not write.
        """
        end: int | None = None
        try:
            for opcode, argument, position in pickletools.genops(data):
                end = position  # the last opcode is STOP
                step = STEPS.get(opcode.name)
                if step is None:
                    raise _refused(f"uses the opcode {opcode.name}")
                step(self, argument)
        except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
            raise _refused("is malformed") from error
        if end is None or end + 1 != len(data):
            raise _refused("has bytes behind its end")
        return tuple(self.storages)

    def push(self, value: object) -> None:
        """Put a scalar on the stack."""
        if isinstance(value, str) and len(value) > TEXT_LENGTH:
            raise _refused(f"holds a text of {len(value)} characters")
        if isinstance(value, int) and value.bit_length() > NUMBER_BITS:
            raise _refused("holds a number of more than 64 bits")
        self._stack.append(value)

    def build(self, kind: str, items: list[object]) -> None:
        """Put a container on the stack."""
        built = Container(kind, items)
        self._deepen(built, items)
        self._stack.append(built)

    def pop(self) -> object:
        """Take the top value, never one below the innermost mark."""
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) <= floor:
            raise _refused("takes a value from an empty stack")
        return self._stack.pop()

    def mark(self) -> None:
        """Remember the stack's height."""
        self._marks.append(len(self._stack))

    def popped_to_mark(self) -> list[object]:
        """Take everything above the innermost mark."""
        height = self._marks.pop()
        values = self._stack[height:]
        del self._stack[height:]
        return values

    def extend(self, kind: str, values: list[object]) -> None:
        """Add values to the container of that kind on top of the stack."""
        target = self.pop()
        if not isinstance(target, Container) or target.kind != kind or target.frozen:
            raise _refused(f"adds to something that is not a new {kind}")
        target.items.extend(values)
        self._deepen(target, values)
        self._stack.append(target)

    def remember(self, index: int) -> None:
        """Put the top value in the memo as well."""
        value = self.pop()
        self._stack.append(value)
        self._memo[index] = value

    def recall(self, index: int) -> None:
        """Put a value of the memo on the stack, from now on unchangeable."""
        value = self._memo[index]
        if isinstance(value, Container):
            value.frozen = True
        self._stack.append(value)

    def refer(self, name: str) -> None:
        """Put a name on the stack, if it is on the list."""
        if not self._is_known(name):
            raise _refused(f"refers to {wording.quoted(name)}")
        self._stack.append(Global(name))

    def persist(self) -> None:
        """Turn a persistent identifier into the storage it names."""
        found = pickle_calls.storage(self.pop())
        self.storages.append(found)
        self._stack.append(found)

    def call(self) -> None:
        """Turn a name and its arguments into their result."""
        arguments = self.pop()
        result = pickle_calls.called(self.pop(), arguments)
        self._refuse_depth(depth_of(result))
        self._stack.append(result)

    def create(self) -> None:
        """Turn a type without arguments into an object."""
        arguments, kind = self.pop(), self.pop()
        plain = isinstance(arguments, Container) and not arguments.items
        if not plain or not isinstance(kind, Global) or not _is_type(kind.name):
            raise _refused("creates an object in an unusual way")
        self.build("object", [])

    def fill(self) -> None:
        """Give an object its state."""
        state = self.pop()
        if not isinstance(state, Container) or state.kind != "dict":
            raise _refused("fills an object with something other than a dict")
        self.extend("object", [state])

    def stop(self) -> None:
        """End with exactly one value."""
        if len(self._stack) != 1 or self._marks:
            raise _refused("ends with an unfinished stack")

    def _deepen(self, container: Container, items: list[object]) -> None:
        container.depth = max(container.depth, 1 + max(map(depth_of, items), default=0))
        self._refuse_depth(container.depth)

    def _refuse_depth(self, depth: int) -> None:
        if depth > self._depth:
            raise _refused(f"nests containers more than {self._depth} deep")

    def _is_known(self, name: str) -> bool:
        if _is_type(name):
            return name.replace(" ", ".") in self._types
        module, _, kind = name.partition(" ")
        is_storage = module == "torch" and kind in pickle_calls.ITEM_SIZES
        return is_storage or name in pickle_calls.CALLS


def _is_type(name: str) -> bool:
    return name.startswith("__torch__")


def _refused(what: str) -> ArchiveError:
    return ArchiveError(
        f"A pickle in the archive {what}; torch.jit.save writes none like it.",
        remedy=wording.SAVE_AGAIN,
    )


Step = Callable[[PickleMachine, Any], None]


def _protocol(_: PickleMachine, version: int) -> None:
    if version != PROTOCOL:
        raise _refused(f"has protocol {version}")


def _tuple_of(count: int) -> Step:
    def step(machine: PickleMachine, _: object) -> None:
        values = [machine.pop() for _ in range(count)]
        machine.build("tuple", values[::-1])

    return step


def _constant(value: object) -> Step:
    return lambda machine, _: machine.push(value)


def _empty(kind: str) -> Step:
    return lambda machine, _: machine.build(kind, [])


# Every opcode that torch.jit.save writes.
STEPS: Final[dict[str, Step]] = {
    "PROTO": _protocol,
    "STOP": lambda machine, _: machine.stop(),
    "NONE": _constant(None),
    "NEWTRUE": _constant(value=True),
    "NEWFALSE": _constant(value=False),
    "BININT": PickleMachine.push,
    "BININT1": PickleMachine.push,
    "BININT2": PickleMachine.push,
    "LONG1": PickleMachine.push,
    "BINFLOAT": PickleMachine.push,
    "BINUNICODE": PickleMachine.push,
    "EMPTY_TUPLE": _empty("tuple"),
    "EMPTY_LIST": _empty("list"),
    "EMPTY_DICT": _empty("dict"),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.build("tuple", machine.popped_to_mark()),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": lambda machine, _: machine.extend("list", [machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend("list", machine.popped_to_mark()),
    "SETITEMS": lambda machine, _: machine.extend("dict", machine.popped_to_mark()),
    "BINPUT": PickleMachine.remember,
    "LONG_BINPUT": PickleMachine.remember,
    "BINGET": PickleMachine.recall,
    "LONG_BINGET": PickleMachine.recall,
    "GLOBAL": PickleMachine.refer,
    "BINPERSID": lambda machine, _: machine.persist(),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.create(),
    "BUILD": lambda machine, _: machine.fill(),
}
