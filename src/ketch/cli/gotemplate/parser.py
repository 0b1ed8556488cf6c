"""Tokens to trees.

The grammar is Go's: a pipeline is commands parted by ``|``, a command is operands parted by space,
an operand is a term and perhaps a chain of fields. Names of functions and variables are checked
here, so that a template with a fault prints nothing at all.
"""

from ketch.cli.gotemplate import nodes
from ketch.cli.gotemplate.errors import ParseError
from ketch.cli.gotemplate.lexer import Token, tokens
from ketch.cli.gotemplate.numbers import number
from ketch.cli.gotemplate.quoting import unquoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ketch.cli.gotemplate.nodes import Node

OPERANDS = frozenset(
    (
        "bool", "char constant", "dot", "field", "identifier", "lparen", "nil", "number", "raw",
        "string", "variable",
    )
)  # fmt: skip
DEEPEST = 100  # levels of actions and parentheses; each takes up to six frames


class Template:
    """One parsed text: its nodes, and those of the templates it defines."""

    __slots__ = ("defined", "name", "nodes", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.nodes: list[Node] = []
        self.defined: dict[str, list[Node]] = {}


def parse(text: str, functions: "Collection[str]", name: str = "") -> Template:
    """Parse; raises ``ParseError``."""
    return Parser(text, functions, name).run()


class Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, text: str, functions: "Collection[str]", name: str) -> None:
        self._tokens = list(tokens(text))
        self._next = 0
        self._functions = functions
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0
        self.template = Template(name, text)

    def run(self) -> Template:
        """The whole text."""
        self.template.nodes, end = self._list()
        if end != "eof":
            raise self._error(f"unexpected {{{{{end}}}}}")
        return self.template

    # tokens

    def _peek(self) -> Token:
        return self._tokens[min(self._next, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._peek()
        self._next += 1
        return token

    def _skip_space(self) -> Token:
        while self._peek().kind == "space":
            self._next += 1
        return self._peek()

    def _take_solid(self) -> Token:
        self._skip_space()
        return self._take()

    def _error(self, message: str) -> ParseError:
        last = self._tokens[min(max(self._next - 1, 0), len(self._tokens) - 1)]
        line = 1 + self.template.text.count("\n", 0, last.position)
        return ParseError(f"template: {self.template.name}:{line}: {message}")

    def _unexpected(self, token: Token, context: str) -> ParseError:
        if token.kind == "error":
            return self._error(token.text)
        return self._error(f"unexpected {token} in {context}")

    def _expect(self, kind: str, context: str) -> Token:
        token = self._take_solid()
        if token.kind != kind:
            raise self._unexpected(token, context)
        return token

    # structure

    def _list(self) -> "tuple[list[Node], str]":
        """Nodes up to ``end``, ``else`` or the end of the text; which of them it was."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error("exceeded the deepest nesting of actions")
        found: list[Node] = []
        while True:
            token = self._take()
            if token.kind == "text":
                found.append(nodes.Text(token.position, token.text))
            elif token.kind == "open":
                word = self._skip_space()
                if word.kind == "keyword" and word.text in ("end", "else"):
                    self._depth -= 1
                    self._take()
                    return found, word.text
                self._action(found)
            elif token.kind == "eof":
                self._depth -= 1
                return found, "eof"
            else:
                raise self._unexpected(token, "input")

    def _action(self, found: "list[Node]") -> None:
        token = self._skip_space()
        if token.kind != "keyword":
            mark = len(self._variables)
            pipe = self._pipeline("command", "close")
            del self._variables[mark if not pipe.names or pipe.assigns else len(self._variables) :]
            found.append(nodes.Action(pipe.position, pipe))
            return
        self._take()
        if token.text in ("if", "with", "range"):
            found.append(self._branch(token.text, token.position))
        elif token.text in ("break", "continue"):
            found.append(self._jump(token))
        elif token.text == "template":
            found.append(self._call(token.position))
        elif token.text == "define":
            self._define()
        elif token.text == "block":
            found.append(self._block(token.position))
        else:
            raise self._unexpected(token, "command")

    def _jump(self, token: Token) -> "Node":
        self._expect("close", f"{{{{{token.text}}}}}")
        if not self._ranges:
            raise self._error(f"{{{{{token.text}}}}} outside {{{{range}}}}")
        return nodes.Jump(token.position, token.text)

    def _branch(self, kind: str, position: int) -> nodes.Branch:
        mark = len(self._variables)
        branch = nodes.Branch(position, kind, self._pipeline(kind, "close"))
        self._ranges += kind == "range"
        branch.body, end = self._list()
        self._ranges -= kind == "range"
        if end == "else":
            branch.otherwise = self._otherwise(kind)
        elif end == "end":
            self._expect("close", "end")
        else:
            raise self._error("unexpected EOF")
        del self._variables[mark:]
        return branch

    def _otherwise(self, kind: str) -> "list[Node]":
        """What follows ``else``: ``else if`` and ``else with`` are branches of their own."""
        token = self._skip_space()
        if token.kind == "keyword" and token.text == kind and kind in ("if", "with"):
            self._take()
            return [self._branch(kind, token.position)]
        self._expect("close", "else")
        body, end = self._list()
        if end == "eof":
            raise self._error("unexpected EOF")
        if end == "else":
            raise self._error("expected end; found {{else}}")
        self._expect("close", "end")
        return body

    def _name(self, context: str) -> "tuple[str, str]":
        token = self._take_solid()
        if token.kind not in ("string", "raw"):
            raise self._unexpected(token, context)
        return self._string(token), token.text

    def _string(self, token: Token) -> str:
        try:
            return unquoted(token.text)
        except ValueError as error:
            raise self._error(str(error)) from None

    def _call(self, position: int) -> "Node":
        name, spelling = self._name("template clause")
        pipe = None
        if self._skip_space().kind == "close":
            self._take()
        else:
            pipe = self._pipeline("template clause", "close")
        return nodes.Call(position + len("template "), name, spelling, pipe)

    def _define(self) -> None:
        name, _ = self._name("define clause")
        self._expect("close", "define clause")
        self._body_of(name, "define clause")

    def _block(self, position: int) -> "Node":
        name, spelling = self._name("block clause")
        pipe = self._pipeline("block clause", "close")
        self._body_of(name, "block clause")
        return nodes.Call(position, name, spelling, pipe)

    def _body_of(self, name: str, context: str) -> None:
        variables, self._variables = self._variables, ["$"]
        body, end = self._list()
        if end != "end":
            raise self._error(
                "unexpected EOF" if end == "eof" else f"unexpected {{{{else}}}} in {context}"
            )
        self._expect("close", context)
        self._variables = variables
        self.template.defined[name] = body

    # pipelines

    def _pipeline(self, context: str, end: str) -> nodes.Pipe:
        pipe = nodes.Pipe(self._skip_space().position)
        self._declarations(pipe, context)
        while True:
            token = self._skip_space()
            if token.kind == end:
                self._take()
                self._check(pipe, context)
                return pipe
            if token.kind not in OPERANDS:
                self._take()
                raise self._unexpected(token, context)
            pipe.commands.append(self._command())

    def _check(self, pipe: nodes.Pipe, context: str) -> None:
        if not pipe.commands:
            raise self._error(f"missing value for {context}")
        for index, command in enumerate(pipe.commands[1:]):
            if isinstance(command.operands[0], (nodes.Constant, nodes.Dot)):
                raise self._error(f"non executable command in pipeline stage {index + 2}")

    def _declarations(self, pipe: nodes.Pipe, context: str) -> None:
        """``$x :=``, ``$x =``, and for ``range`` ``$i, $x :=``."""
        start, names = self._next, []
        while self._skip_space().kind == "variable":
            names.append(self._take().text)
            token = self._skip_space()
            if token.kind in ("declare", "assign"):
                self._take()
                self._declare(pipe, names, token.kind == "assign")
                return
            if token.text != ",":
                break
            if len(names) == 2 or context != "range":
                raise self._error(f"too many declarations in {context}")
            self._take()
        self._next = start

    def _declare(self, pipe: nodes.Pipe, names: "list[str]", assigns: bool) -> None:
        pipe.names, pipe.assigns = names, assigns
        if assigns:
            for name in names:
                self._known(name)
        else:
            self._variables.extend(names)

    def _known(self, name: str) -> None:
        if name not in self._variables:
            raise self._error(f"undefined variable {Token('variable', name, 0)}")

    def _command(self) -> nodes.Command:
        command = nodes.Command(self._skip_space().position, [])
        while True:
            self._skip_space()
            operand = self._operand()
            if operand is not None:
                command.operands.append(operand)
            token = self._peek()
            if token.kind == "space":
                self._take()
                continue
            if token.kind in ("close", "rparen"):
                break
            self._take()
            if token.kind == "pipe":
                break
            raise self._unexpected(token, "operand")
        if not command.operands:
            raise self._error("empty command")
        return command

    def _operand(self) -> "Node | None":
        token = self._peek()
        if token.kind not in OPERANDS:
            return None
        term = self._term()
        if self._peek().kind != "field":
            return term
        position, names = self._peek().position, []
        while self._peek().kind == "field":
            names.append(self._take().text[1:])
        if isinstance(term, nodes.Field):
            return nodes.Field(position, term.names + names)
        if isinstance(term, nodes.Variable):
            return nodes.Variable(position, term.name, term.names + names)
        if isinstance(term, (nodes.Constant, nodes.Dot)):
            raise self._error(f"unexpected . after term {Token('term', str(term), 0)}")
        return nodes.Chain(position, term, names)

    def _term(self) -> "Node":
        token = self._take()
        position, text = token.position, token.text
        if token.kind == "identifier":
            if text not in self._functions:
                raise self._error(f'function "{text}" not defined')
            return nodes.Function(position, text)
        if token.kind == "variable":
            self._known(text)
            return nodes.Variable(position, text, [])
        if token.kind == "field":
            return nodes.Field(position, [text[1:]])
        if token.kind == "dot":
            return nodes.Dot(position)
        if token.kind == "lparen":
            return self._parenthesized()
        return nodes.Constant(position, self._constant(token), text)

    def _character(self, token: Token) -> int:
        try:
            text = unquoted(token.text)
        except ValueError:
            text = ""
        if len(text) != 1 or "\n" in token.text:
            raise self._error(f"malformed character constant: {token.text}")
        return ord(text)

    def _parenthesized(self) -> "Node":
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error("exceeded the deepest nesting of parentheses")
        pipe = self._pipeline("parenthesized pipeline", "rparen")
        self._depth -= 1
        return pipe

    def _constant(self, token: Token) -> object:
        if token.kind == "nil":
            return None
        if token.kind == "bool":
            return token.text == "true"
        if token.kind in ("string", "raw"):
            return self._string(token)
        if token.kind == "char constant":
            return self._character(token)
        try:
            return number(token.text)
        except ValueError as error:
            raise self._error(str(error)) from None
