"""``ketch __complete WORD…``: what may come next; the shells' scripts ask it at every Tab.

The last word is the one being typed. One candidate a line, a tab and a description after it; the
last line is a colon and letters for the shell: ``n`` no space after the candidate, ``f`` file
names too, ``d`` directories too. It never starts a daemon and gives up after two seconds.
"""

import sys

from ketch.cli import commands, complete_words
from ketch.cli.complete_words import ARGUMENTS, REPEATED
from ketch.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.cli.complete_live import Live

PATIENCE = 2  # seconds
STOPPING = ("run:run", "run:create", "exec:execute", "inspect:top")  # flags end at the first word


class Answer:
    """Candidates with descriptions, and what the shell should do beside offering them."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.letters = ""

    def add(self, candidates: "dict[str, str] | Sequence[str]", prefix: str = "") -> None:
        """Candidates, each after ``prefix`` (what is typed before them in the same word)."""
        pairs = (
            candidates.items() if isinstance(candidates, dict) else ((c, "") for c in candidates)
        )
        self.found.update((prefix + word, text) for word, text in pairs)

    def show(self, typed: str) -> None:
        """Print those that begin as typed."""
        kept = {word: text for word, text in self.found.items() if word.startswith(typed)}
        letters = set(self.letters)
        if kept and all(word.endswith(("=", ":")) for word in kept):
            letters.add("n")
        for word in sorted(kept):
            text = " ".join(kept[word].split())
            sys.stdout.write(f"{word}\t{text}\n" if text else f"{word}\n")
        sys.stdout.write(":" + "".join(sorted(letters)) + "\n")


def complete(words: "list[str]", flags: "Sequence[Flag]") -> int:
    """Print what may come; ``flags`` are the global ones."""
    words = words or [""]
    answer = Answer()
    try:
        _Completer(words, flags, answer).run()
    except Exception:  # whatever is wrong, a Tab must not print a traceback
        answer.found.clear()
    answer.show(words[-1])
    return 0


class _Completer:
    """One question."""

    def __init__(self, words: "list[str]", flags: "Sequence[Flag]", answer: Answer) -> None:
        *self.before, self.typed = words
        self.flags = flags
        self.answer = answer
        self.globals: dict[str, str] = {}

    def run(self) -> None:
        """Find out what is being typed, and answer."""
        rest = self._global_flags(list(self.before))
        if rest is None:
            return
        if rest and rest[0] == "help":
            rest = rest[1:]
            if commands.find(rest):
                return
        if rest == ["build", "history"]:  # or a context of that name, which the command offers
            self.answer.add(commands.under("builder history"))
        rest = commands.spelled(rest)
        found = commands.find(rest) if rest else None
        if found is not None:
            self._in_command(*found)
        elif not rest:
            self._commands()
        elif (group := " ".join(rest)) in commands.GROUPS:
            self.answer.add(commands.under(group))

    def _global_flags(self, words: "list[str]") -> "list[str] | None":
        """The words from the command on; None when a global flag's value is typed."""
        while words and words[0].startswith("-") and len(words[0]) > 1:
            word = words.pop(0)
            flag = _flag_of(word, self.flags)
            if flag is None or flag.kind == "switch":
                continue
            if "=" in word:
                self.globals[flag.name] = word.partition("=")[2]
            elif words:
                self.globals[flag.name] = words.pop(0)
            else:
                self._values(flag, "", self.typed)
                return None
        return words

    def _commands(self) -> None:
        if self.typed.startswith("-"):
            self._flag_names(self.flags)
            return
        self.answer.add(commands.under(""))
        self.answer.add({"help": "Help about a command"})

    def _in_command(self, name: str, rest: "list[str]") -> None:
        place = commands.COMMANDS[name][0]
        module = commands.module_of(name)
        flags = module.HELP[place.partition(":")[2]][1]
        words: list[str] = []
        only_words = False
        while rest:
            word = rest.pop(0)
            if only_words or not word.startswith("-") or word == "-":
                words.append(word)
                only_words = only_words or place in STOPPING
                continue
            if word == "--":
                only_words = True
                continue
            flag = _flag_of(word, flags)
            if flag is None or flag.kind == "switch" or "=" in word or _has_value(word, flag):
                continue
            if not rest:
                self._values(flag, "", self.typed)
                return
            rest.pop(0)
        self._word(name, flags, words, only_words)

    def _word(
        self, name: str, flags: "Sequence[Flag]", words: "list[str]", only_words: bool
    ) -> None:
        """A flag or an argument is typed."""
        if self.typed.startswith("-") and not only_words:
            flag_name, equals, _ = self.typed.partition("=")
            flag = _flag_of(flag_name, flags) if equals else None
            if flag is not None:
                self._values(flag, flag_name + "=", self.typed[len(flag_name) + 1 :])
            else:
                self._flag_names(flags)
            return
        place = commands.COMMANDS[name][0]
        kinds = ARGUMENTS.get(name) or ARGUMENTS.get(place) or ()
        if not kinds:
            return
        index = len(words)
        if index < len(kinds):
            kind = kinds[index]
        elif name in REPEATED or place in REPEATED:
            kind = kinds[-1]
        else:
            return
        self._offer(kind, "", self.typed)
        for word in words:
            self.answer.found.pop(word, None)

    def _flag_names(self, flags: "Sequence[Flag]") -> None:
        for flag in flags:
            self.answer.add({f"--{flag.name}": flag.help})
            if flag.short and not self.typed.startswith("--"):
                self.answer.add({f"-{flag.short}": flag.help})
        self.answer.add({"--help": "Print usage"})

    def _values(self, flag: Flag, prefix: str, typed: str) -> None:
        """What a flag may be given."""
        if isinstance(flag.values, str):
            self._offer(flag.values, prefix, typed)
        else:
            self.answer.add(flag.values, prefix)

    def _offer(self, kind: str, prefix: str, typed: str) -> None:
        """Candidates of one kind: fixed words, files, or what the engine has."""
        if kind in ("files", "directories"):
            self.answer.letters += kind[0]
            return
        fixed = complete_words.FIXED.get(kind)
        if fixed is not None:
            self.answer.add(fixed, prefix)
            return
        if kind.endswith("-filters"):
            key, equals, _ = typed.partition("=")
            if equals:
                source = complete_words.FILTER_VALUES.get(key)
                if source is not None:
                    self._offer(source, f"{prefix}{key}=", typed[len(key) + 1 :])
            else:
                self.answer.add(complete_words.FILTERS[kind], prefix)
            return
        if ":" in typed and kind in ("copy", "volumes-or-paths"):
            return  # a path in a container
        live = self._live()
        self.answer.add(live.of(kind, typed), prefix)
        if kind in ("volumes-or-paths", "copy"):
            self.answer.letters += "f"

    def _live(self) -> "Live":
        from ketch.cli.complete_live import Live

        return Live(self.globals, PATIENCE)


def _flag_of(word: str, flags: "Sequence[Flag]") -> "Flag | None":
    """The flag that a word names, the last of a cluster of short ones."""
    if word.startswith("--"):
        name = word[2:].partition("=")[0]
        return next((flag for flag in flags if name in (flag.name, *flag.also)), None)
    for place, letter in enumerate(word[1:]):
        flag = next((flag for flag in flags if flag.short == letter), None)
        if flag is None or flag.kind != "switch":
            return flag
        if place == len(word) - 2:
            return flag
    return None


def _has_value(word: str, flag: Flag) -> bool:
    """``-n5``: the value is in the same word."""
    return not word.startswith("--") and not word.endswith(flag.short or "\0")
