"""Names and platforms of images, as people write them."""

from ketch.cli.flags import UsageError


def split_tag(target: str) -> "tuple[str, str]":
    """``host:5000/name:tag`` → (``host:5000/name``, ``tag``); tag is empty when absent."""
    path, slash, last = target.rpartition("/")
    name, _, tag_name = last.partition(":")
    return path + slash + name, tag_name


def platform_json(text: str) -> "dict[str, str] | None":
    """``os[/arch[/variant]]`` as the object that the API takes; None for empty."""
    if not text:
        return None
    names = ("os", "architecture", "variant")
    words = text.split("/")
    if len(words) > len(names) or not all(words):
        raise UsageError(f"invalid platform {text!r}: use os[/arch[/variant]]")
    return dict(zip(names, words, strict=False))
