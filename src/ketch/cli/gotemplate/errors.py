"""What can go wrong with a template, in Go's words."""


class TemplateError(Exception):
    """Base; ``str(error)`` is what Go's ``Error()`` gives, ``template: NAME:LINE: …``."""


class ParseError(TemplateError):
    """The text is no template."""


class ExecError(TemplateError):
    """The template cannot be filled with this value."""


class CallError(Exception):
    """A function refuses its arguments; the evaluator adds where."""
