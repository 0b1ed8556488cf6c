"""Filling a parsed template with a value."""

from ketch.cli.gotemplate import nodes
from ketch.cli.gotemplate.errors import CallError, ExecError
from ketch.cli.gotemplate.functions import FUNCTIONS, NO_VALUE, TYPES, truth
from ketch.cli.gotemplate.numbers import kind_of
from ketch.cli.gotemplate.printing import shown
from ketch.cli.gotemplate.values import Row, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ketch.cli.gotemplate.nodes import Node
    from ketch.cli.gotemplate.parser import Template

DEEPEST_CALL = 100
LONGEST = 64 << 20  # characters of output: a template that doubles itself ends somewhere


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def execute(template: "Template", value: "Any", functions: "Mapping[str, Any]" = FUNCTIONS) -> str:
    """The template filled with ``value``; raises ``ExecError``."""
    run = Run(template, functions)
    run.variables.append(("$", value))
    try:
        run.walk(template.nodes, value)
    except RecursionError:
        raise ExecError(f"template: {template.name}:1: too deeply nested") from None
    return "".join(run.out)


class Run:
    """One execution: output, variables in scope, depth of calls."""

    def __init__(self, template: "Template", functions: "Mapping[str, Any]") -> None:
        self.template = template
        self.functions = functions
        self.out: list[str] = []
        self.size = 0
        self.variables: list[tuple[str, Any]] = []
        self.depth = 0

    def fail(self, node: "Node", message: str) -> ExecError:
        """The error at a node, with line and column as Go counts them (bytes, from 0)."""
        before = self.template.text[: node.position]
        line = 1 + before.count("\n")
        column = len(before.rpartition("\n")[2].encode())
        name = self.template.name
        return ExecError(
            f'template: {name}:{line}:{column}: executing "{name}" at <{node}>: {message}'
        )

    def write(self, node: "Node", text: str) -> None:
        """Add to the output."""
        self.size += len(text)
        if self.size > LONGEST:
            raise self.fail(node, "the output is too long")
        self.out.append(text)

    def walk(self, body: "list[Node]", dot: "Any") -> None:
        """Execute nodes in order."""
        for node in body:
            if isinstance(node, nodes.Text):
                self.write(node, node.text)
            elif isinstance(node, nodes.Action):
                value = self.pipe(node.pipe, dot)
                if not node.pipe.names:
                    self.write(node, self.printable(node, value))
            elif isinstance(node, nodes.Branch):
                self.branch(node, dot)
            elif isinstance(node, nodes.Jump):
                raise _Break if node.kind == "break" else _Continue
            elif isinstance(node, nodes.Call):
                self.call(node, dot)

    def printable(self, node: "Node", value: "Any") -> str:
        """What an action prints."""
        if value is NO_VALUE:
            return "<no value>"
        if callable(value):
            raise self.fail(node, "can't print a method")
        return shown(value)

    # structure

    def branch(self, node: nodes.Branch, dot: "Any") -> None:
        """``if``, ``with``, ``range``."""
        mark = len(self.variables)
        if node.kind == "range":
            self.range(node, dot)
        else:
            value = self.pipe(node.pipe, dot)
            if truth(value):
                self.walk(node.body, value if node.kind == "with" else dot)
            else:
                self.walk(node.otherwise, dot)
        del self.variables[mark:]

    def range(self, node: nodes.Branch, dot: "Any") -> None:
        """The body once for each element."""
        value = self.value_of(node.pipe, dot)
        mark = len(self.variables)
        found = False
        for key, element in self.elements(node.pipe, value):
            found = True
            if node.pipe.names:
                last = element if len(node.pipe.names) == 2 or not isinstance(value, int) else key
                pairs = [(node.pipe.names[-1], last)]
                if len(node.pipe.names) == 2:
                    pairs.insert(0, (node.pipe.names[0], key))
                self.bind(node.pipe, pairs)
            try:
                self.walk(node.body, element)
            except _Break:
                break
            except _Continue:
                continue
            finally:
                del self.variables[mark:]
        if not found:
            self.walk(node.otherwise, dot)

    def elements(self, pipe: nodes.Pipe, value: "Any") -> "Iterator[tuple[Any, Any]]":
        """(key, element) pairs; maps in the order of their keys."""
        if isinstance(value, dict) and not isinstance(value, Struct):
            return iter([(key, value[key]) for key in sorted(value)])
        if isinstance(value, (list, tuple)):
            return iter(list(enumerate(value)))
        if isinstance(value, int) and not isinstance(value, bool):
            return iter(zip(range(value), range(value), strict=True))
        if value is None or value is NO_VALUE:
            return iter(())
        raise self.fail(pipe, f"range can't iterate over {shown(value)}")

    def call(self, node: nodes.Call, dot: "Any") -> None:
        """``template``: another body with variables of its own."""
        body = self.template.defined.get(node.name)
        if body is None:
            raise self.fail(node, f'template "{node.name}" not defined')
        if self.depth > DEEPEST_CALL:
            raise self.fail(node, f"exceeded maximum template depth ({DEEPEST_CALL})")
        value = self.pipe(node.pipe, dot) if node.pipe is not None else None
        variables, self.variables = self.variables, [("$", value)]
        self.depth += 1
        self.walk(body, value)
        self.depth -= 1
        self.variables = variables

    # pipelines

    def pipe(self, pipe: nodes.Pipe, dot: "Any") -> "Any":
        """The value of a pipeline; its variables are set."""
        value = self.value_of(pipe, dot)
        if pipe.names:
            self.bind(pipe, [(name, value) for name in pipe.names])
        return value

    def value_of(self, pipe: nodes.Pipe, dot: "Any") -> "Any":
        """The value of a pipeline alone."""
        final: tuple[Any, ...] = ()
        for command in pipe.commands:
            final = (self.command(command, dot, final),)
        return final[0]

    def bind(self, pipe: nodes.Pipe, pairs: "list[tuple[str, Any]]") -> None:
        """Declare variables, or give those that are there another value."""
        for name, value in pairs:
            if not pipe.assigns:
                self.variables.append((name, value))
                continue
            for place in range(len(self.variables) - 1, -1, -1):
                if self.variables[place][0] == name:
                    self.variables[place] = (name, value)
                    break

    def command(self, command: nodes.Command, dot: "Any", final: "tuple[Any, ...]") -> "Any":
        """One command; ``final`` holds the value that came through the pipe, if any."""
        first, rest = command.operands[0], command.operands[1:]
        if isinstance(first, nodes.Function):
            return self.function(first, command, rest, dot, final)
        if isinstance(first, (nodes.Field, nodes.Variable, nodes.Chain)):
            return self.fields(first, dot, rest, final)
        if rest or final:
            raise self.fail(first, f"can't give argument to non-function {first}")
        if isinstance(first, nodes.Constant) and first.spelling == "nil":
            raise self.fail(first, "nil is not a command")
        return self.operand(first, dot)

    def operand(self, node: "Node", dot: "Any") -> "Any":
        """The value of one operand."""
        if isinstance(node, nodes.Constant):
            return node.value
        if isinstance(node, nodes.Dot):
            return dot
        if isinstance(node, nodes.Pipe):
            return self.pipe(node, dot)
        if isinstance(node, nodes.Function):
            return self.function(node, node, [], dot, ())
        return self.fields(node, dot, [], ())

    def function(
        self,
        node: nodes.Function,
        whole: "Node",
        rest: "list[Node]",
        dot: "Any",
        final: "tuple[Any, ...]",
    ) -> "Any":
        """Call a function of the table."""
        function, least, most = self.functions[node.name]
        count = len(rest) + len(final)
        if not least <= count <= most:
            want = f"at least {least}" if most > 1000 else str(least)
            raise self.fail(node, f"wrong number of args for {node.name}: want {want} got {count}")
        if function is None:
            return self.shortcut(node.name, rest, dot, final)
        arguments = [self.operand(argument, dot) for argument in rest]
        arguments.extend(final)
        self.check(node, rest, arguments)
        try:
            return function(*arguments)
        except CallError as error:
            message = str(error).replace("{}", str(rest[0]) if rest else "<nil>", 1)
            raise self.fail(whole, f"error calling {node.name}: {message}") from None

    def check(self, node: nodes.Function, rest: "list[Node]", values: "list[Any]") -> None:
        """Values must have the types of the parameters."""
        for place, wanted in enumerate(TYPES.get(node.name, ())):
            value = values[place]
            if kind_of(value) == wanted or (wanted == "[]string" and isinstance(value, list)):
                continue
            at = rest[place] if place < len(rest) else node
            if isinstance(at, nodes.Constant) and wanted != "[]string":
                word = {"string": "string", "int": "integer"}[wanted]
                raise self.fail(at, f"expected {word}; found {at}")
            raise self.fail(at, f"wrong type for value; expected {wanted}; got {kind_of(value)}")

    def shortcut(
        self, name: str, rest: "list[Node]", dot: "Any", final: "tuple[Any, ...]"
    ) -> "Any":
        """``and``, ``or``: the first argument that decides."""
        value: Any = None
        for node in rest:
            value = self.operand(node, dot)
            if truth(value) == (name == "or"):
                return value
        return final[0] if final else value

    # fields

    def fields(
        self, node: "Node", dot: "Any", rest: "list[Node]", final: "tuple[Any, ...]"
    ) -> "Any":
        """Follow a chain of fields; arguments go to the last, which must be a method."""
        value, names = dot, getattr(node, "names", [])
        if isinstance(node, nodes.Variable):
            value = next(held for name, held in reversed(self.variables) if name == node.name)
            if not names and (rest or final):
                raise self.fail(node, f"can't give argument to non-function {node}")
        elif isinstance(node, nodes.Chain):
            value = self.operand(node.node, dot)
        for place, name in enumerate(names):
            before = names[place - 1] if place else ""
            last = place == len(names) - 1
            value = self.field(node, value, name, before)
            value = self.method(node, name, value, (rest, final, dot) if last else ([], (), dot))
        return value

    def method(
        self,
        node: "Node",
        name: str,
        value: "Any",
        given: "tuple[list[Node], tuple[Any, ...], Any]",
    ) -> "Any":
        """Call what is a method; other values take no arguments."""
        rest, final, dot = given
        count = len(rest) + len(final)
        if not callable(value):
            if count and isinstance(dot, Row):
                raise self.fail(node, f"wrong number of args for {name}: want 0 got {count}")
            if count:
                raise self.fail(node, f"{name} has arguments but cannot be invoked as function")
            return value
        if count != 1:
            raise self.fail(node, f"wrong number of args for {name}: want 1 got {count}")
        arguments = [self.operand(argument, dot) for argument in rest]
        arguments.extend(final)
        if not isinstance(arguments[0], str):
            raise self.fail(
                node, f"wrong type for value; expected string; got {kind_of(arguments[0])}"
            )
        return value(*arguments)

    def field(self, node: "Node", value: "Any", name: str, before: str) -> "Any":
        """One field of a value."""
        if isinstance(value, Row) and name in value.methods:
            return value.methods[name]
        if isinstance(value, Struct):
            known, found = value.field(name)
            if known:
                return found
            if value.type_name:
                raise self.fail(node, f"can't evaluate field {name} in type {value.type_name}")
            raise self.fail(node, f'map has no entry for key "{name}"')
        if isinstance(value, dict):
            return value.get(name, NO_VALUE)
        if value is None or value is NO_VALUE:
            if before:
                raise self.fail(node, f'map has no entry for key "{before}"')
            raise self.fail(node, f'nil data; no entry for key "{name}"')
        raise self.fail(node, f"can't evaluate field {name} in type {kind_of(value)}")
