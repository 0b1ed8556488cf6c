"""Go's string literals: reading them and writing them (strconv.Quote, strconv.Unquote)."""

ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
ESCAPES.update({"\\": "\\", "'": "'", '"': '"'})
WRITTEN = {value: "\\" + key for key, value in ESCAPES.items() if key != "'"}
DIGITS = {"x": 2, "u": 4, "U": 8}


def quoted(text: str, mark: str = '"') -> str:
    """``text`` as an interpreted string literal."""
    out = [mark]
    for char in text:
        if char == mark or char == "\\":
            out.append("\\" + char)
        elif char in WRITTEN and char not in "\"'":
            out.append(WRITTEN[char])
        elif char.isprintable():
            out.append(char)
        else:
            out.append(_numbered(ord(char)))
    out.append(mark)
    return "".join(out)


def _numbered(code: int) -> str:
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquoted(literal: str) -> str:
    """The text of a literal with its marks; raises ``ValueError``."""
    mark, inner = literal[0], literal[1:-1]
    if mark == "`":
        return inner.replace("\r", "")
    out: list[str] = []
    position = 0
    while position < len(inner):
        char = inner[position]
        if char != "\\":
            out.append(char)
            position += 1
            continue
        text, position = _escape(inner, position + 1)
        out.append(text)
    return "".join(out)


def _escape(inner: str, position: int) -> "tuple[str, int]":
    """(the text, where it ends) of the escape whose letter is at ``position``."""
    letter = inner[position : position + 1]
    if letter in ESCAPES and letter:
        return ESCAPES[letter], position + 1
    if letter in DIGITS and letter:
        end = position + 1 + DIGITS[letter]
        return _code(inner[position + 1 : end], 16, DIGITS[letter]), end
    if letter.isdigit():
        return _code(inner[position : position + 3], 8, 3), position + 3
    raise ValueError("invalid syntax")


def _code(digits: str, base: int, length: int) -> str:
    if len(digits) != length or not digits.isalnum():
        raise ValueError("invalid syntax")
    code = int(digits, base)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise ValueError("invalid syntax")
    return chr(code)
