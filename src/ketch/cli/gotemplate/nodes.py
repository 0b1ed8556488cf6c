"""The tree that a template is. ``str(node)`` is what error messages quote."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Node:
    """Anything with a place in the text."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


class Text(Node):
    """Characters to copy."""

    __slots__ = ("text",)

    def __init__(self, position: int, text: str) -> None:
        super().__init__(position)
        self.text = text


class Constant(Node):
    """A number, string, character, ``true``, ``false`` or ``nil``, with its spelling."""

    __slots__ = ("spelling", "value")

    def __init__(self, position: int, value: "Any", spelling: str) -> None:
        super().__init__(position)
        self.value = value
        self.spelling = spelling

    def __str__(self) -> str:
        return self.spelling


class Dot(Node):
    """``.``, the present value."""

    def __str__(self) -> str:
        return "."


class Field(Node):
    """``.A.B`` of the present value."""

    __slots__ = ("names",)

    def __init__(self, position: int, names: "list[str]") -> None:
        super().__init__(position)
        self.names = names

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """``$x.A.B``; the name holds its ``$``."""

    __slots__ = ("name", "names")

    def __init__(self, position: int, name: str, names: "list[str]") -> None:
        super().__init__(position)
        self.name = name
        self.names = names

    def __str__(self) -> str:
        return ".".join([self.name, *self.names])


class Chain(Node):
    """``(pipeline).A.B``."""

    __slots__ = ("names", "node")

    def __init__(self, position: int, node: Node, names: "list[str]") -> None:
        super().__init__(position)
        self.node = node
        self.names = names

    def __str__(self) -> str:
        inner = f"({self.node})" if isinstance(self.node, Pipe) else str(self.node)
        return ".".join([inner, *self.names])


class Function(Node):
    """The name of a function."""

    __slots__ = ("name",)

    def __init__(self, position: int, name: str) -> None:
        super().__init__(position)
        self.name = name

    def __str__(self) -> str:
        return self.name


class Command(Node):
    """Operands parted by space: a value, or a function and its arguments."""

    __slots__ = ("operands",)

    def __init__(self, position: int, operands: "list[Node]") -> None:
        super().__init__(position)
        self.operands = operands

    def __str__(self) -> str:
        return " ".join(
            f"({operand})" if isinstance(operand, Pipe) else str(operand)
            for operand in self.operands
        )


class Pipe(Node):
    """Commands parted by ``|``, perhaps after ``$x :=`` or ``$x =``."""

    __slots__ = ("assigns", "commands", "names")

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.names: list[str] = []
        self.assigns = False
        self.commands: list[Command] = []

    def __str__(self) -> str:
        mark = " = " if self.assigns else " := "
        left = ", ".join(self.names) + mark if self.names else ""
        return left + " | ".join(map(str, self.commands))


class Action(Node):
    """``{{pipeline}}``."""

    __slots__ = ("pipe",)

    def __init__(self, position: int, pipe: Pipe) -> None:
        super().__init__(position)
        self.pipe = pipe


class Branch(Node):
    """``if``, ``with`` or ``range`` with its two bodies."""

    __slots__ = ("body", "kind", "otherwise", "pipe")

    def __init__(self, position: int, kind: str, pipe: Pipe) -> None:
        super().__init__(position)
        self.kind = kind
        self.pipe = pipe
        self.body: list[Node] = []
        self.otherwise: list[Node] = []


class Jump(Node):
    """``break`` or ``continue``."""

    __slots__ = ("kind",)

    def __init__(self, position: int, kind: str) -> None:
        super().__init__(position)
        self.kind = kind


class Call(Node):
    """``{{template "name" pipeline}}``."""

    __slots__ = ("name", "pipe", "spelling")

    def __init__(self, position: int, name: str, spelling: str, pipe: "Pipe | None") -> None:
        super().__init__(position)
        self.name = name
        self.spelling = spelling
        self.pipe = pipe

    def __str__(self) -> str:
        argument = f" {self.pipe}" if self.pipe is not None else ""
        return f"{{{{template {self.spelling}{argument}}}}}"
