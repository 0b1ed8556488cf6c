"""Go's text/template as ``--format`` needs it: parse once, fill in for every object.

The language is that of Go's package documentation (text/template, "Actions", "Pipelines",
"Functions"), with the functions that Docker adds. Values are decoded JSON and ``values.Row``.
"""
