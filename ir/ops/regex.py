# SPDX-License-Identifier: MIT
"""Regular expressions in the syntax of RE2, matched in time linear in the text.

Python's ``re`` backtracks: ``(a*)*b`` on thirty letters runs for hours, and a model file can
bring such a pattern. A pattern is parsed to a tree, compiled to a small program, and all ways
through the program are followed at once (Thompson, "Regular expression search algorithm",
CACM 1968; Cox, "Regular expression matching: the virtual machine approach", 2009).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from ...errors import OpError

MAX_PROGRAM = 20_000
MAX_REPEAT = 1_000
MAX_NESTING = 100

Test = Callable[[str], bool]


@dataclass(frozen=True)
class Character:
    """Matches one character that passes a test."""

    test: Test


@dataclass(frozen=True)
class Assertion:
    """Matches nothing, at a place: ``^``, ``$``, ``b`` or ``B``; ``m`` marks line mode."""

    kind: str


@dataclass(frozen=True)
class Sequence:
    """Matches its parts one after another."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Choice:
    """Matches one of its parts."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Repeat:
    """Matches its part ``least`` to ``most`` times; ``None`` is any number."""

    part: Tree
    least: int
    most: int | None


Tree = Character | Assertion | Sequence | Choice | Repeat


class Regex:
    """A compiled pattern.

    >>> Regex("(a|b)*c").matches("abbac")
    True
    >>> Regex("(a*)*b").matches("a" * 1000)
    False

    Raises:
        OpError: the pattern is malformed or too large, or uses what RE2 has not.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._program: list[_Instruction] = []
        self._emit(_Parser(pattern).tree())
        self._add(_Instruction("match"))

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        current = self._closure([0], text, 0)
        for at, character in enumerate(text):
            following = [
                pc + 1
                for pc in current
                if (test := self._program[pc].test) is not None and test(character)
            ]
            if not following:
                return False
            current = self._closure(following, text, at + 1)
        return any(self._program[pc].kind == "match" for pc in current)

    def _closure(self, start: list[int], text: str, at: int) -> list[int]:
        """Return the instructions reachable without reading a character."""
        seen, waiting = set(start), list(start)
        while waiting:
            pc = waiting.pop()
            instruction = self._program[pc]
            for target in _steps(instruction, pc, text, at):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return [pc for pc in seen if self._program[pc].kind in {"character", "match"}]

    # Compilation

    def _add(self, instruction: _Instruction) -> int:
        self._program.append(instruction)
        if len(self._program) > MAX_PROGRAM:
            raise OpError(f"regular expression {self.pattern[:40]!r} is too large")
        return len(self._program) - 1

    def _emit(self, tree: Tree) -> None:
        if isinstance(tree, Character):
            self._add(_Instruction("character", test=tree.test))
        elif isinstance(tree, Assertion):
            self._add(_Instruction("assert", place=tree.kind))
        elif isinstance(tree, Sequence):
            for part in tree.parts:
                self._emit(part)
        elif isinstance(tree, Choice):
            self._emit_choice(tree)
        else:
            self._emit_repeat(tree)

    def _emit_choice(self, tree: Choice) -> None:
        split = self._add(_Instruction("split"))
        jumps: list[int] = []
        targets: list[int] = []
        for part in tree.parts:
            targets.append(len(self._program))
            self._emit(part)
            jumps.append(self._add(_Instruction("split")))
        end = len(self._program)
        self._program[split] = _Instruction("split", targets=tuple(targets))
        for jump in jumps:
            self._program[jump] = _Instruction("split", targets=(end,))

    def _emit_repeat(self, tree: Repeat) -> None:
        for _ in range(tree.least):
            self._emit(tree.part)
        if tree.most is None:
            split = self._add(_Instruction("split"))
            self._emit(tree.part)
            self._add(_Instruction("split", targets=(split,)))
            self._program[split] = _Instruction("split", targets=(split + 1, len(self._program)))
            return
        splits = []
        for _ in range(tree.most - tree.least):
            splits.append(self._add(_Instruction("split")))
            self._emit(tree.part)
        for split in splits:
            self._program[split] = _Instruction("split", targets=(split + 1, len(self._program)))


@dataclass(frozen=True)
class _Instruction:
    kind: str
    test: Test | None = None
    place: str = ""
    targets: tuple[int, ...] = ()


def _steps(instruction: _Instruction, pc: int, text: str, at: int) -> tuple[int, ...]:
    if instruction.kind == "split":
        return instruction.targets
    if instruction.kind == "assert" and _holds(instruction.place, text, at):
        return (pc + 1,)
    return ()


def _holds(place: str, text: str, at: int) -> bool:
    if place in {"b", "B"}:
        before = at > 0 and _is_word(text[at - 1])
        after = at < len(text) and _is_word(text[at])
        return (before != after) == (place == "b")
    if place[0] == "^":
        return at == 0 or (place == "^m" and text[at - 1] == "\n")
    return at == len(text) or (place == "$m" and text[at] == "\n")


# Characters


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


_CLASSES: dict[str, Test] = {
    "d": lambda c: "0" <= c <= "9",
    "s": lambda c: c in "\t\n\f\r ",
    "w": _is_word,
}
_POSIX: dict[str, Test] = {
    "alnum": lambda c: c.isascii() and c.isalnum(),
    "alpha": lambda c: c.isascii() and c.isalpha(),
    "ascii": str.isascii,
    "blank": lambda c: c in "\t ",
    "cntrl": lambda c: c < " " or c == "\x7f",
    "digit": _CLASSES["d"],
    "graph": lambda c: "!" <= c <= "~",
    "lower": lambda c: "a" <= c <= "z",
    "print": lambda c: " " <= c <= "~",
    "punct": lambda c: "!" <= c <= "~" and not c.isalnum(),
    "space": lambda c: c in "\t\n\v\f\r ",
    "upper": lambda c: "A" <= c <= "Z",
    "word": _is_word,
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
}
_ESCAPES = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _not(test: Test) -> Test:
    return lambda c: not test(c)


def _any(tests: list[Test]) -> Test:
    return lambda c: any(test(c) for test in tests)


def _range(low: str, high: str) -> Test:
    return lambda c: low <= c <= high


def _folded(test: Test) -> Test:
    return lambda c: test(c) or test(c.lower()) or test(c.upper())


def _unquoted(pattern: str) -> str:
    r"""Return the pattern with what is between ``\Q`` and ``\E`` escaped one by one."""
    pieces: list[str] = []
    for piece in re.split(r"(\\Q.*?(?:\\E|\Z)|\\.)", pattern, flags=re.DOTALL):
        quoted = piece.startswith("\\Q")
        pieces.append(re.escape(piece[2:].removesuffix("\\E")) if quoted else piece)
    return "".join(pieces)


class _Parser:
    """Recursive descent over the pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = _unquoted(pattern)
        self.at = 0
        self.depth = 0
        self.flags: frozenset[str] = frozenset()

    def tree(self) -> Tree:
        """Parse the whole pattern."""
        tree = self._choice()
        if self.at < len(self.pattern):
            raise self._error("a closing parenthesis too many")
        return tree

    def _error(self, message: str) -> OpError:
        return OpError(f"regular expression {self.pattern[:80]!r}, position {self.at}: {message}")

    def _peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _take(self) -> str:
        if self.at >= len(self.pattern):
            raise self._error("ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def _accept(self, text: str) -> bool:
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def _choice(self) -> Tree:
        parts = [self._sequence()]
        while self._accept("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Tree:
        parts: list[Tree] = []
        while self._peek() not in {"", "|", ")"}:
            part = self._atom()
            if part is not None:  # flags stand for nothing
                parts.append(self._repeated(part))
        return Sequence(tuple(parts))

    def _repeated(self, part: Tree) -> Tree:
        bounds = self._quantifier()
        if bounds is None:
            return part
        self._accept("?")  # lazy or greedy is the same for a full match
        if self._quantifier() is not None:
            raise self._error("two repetition operators in a row")
        return Repeat(part, *bounds)

    def _quantifier(self) -> tuple[int, int | None] | None:
        for text, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._accept(text):
                return bounds
        start = self.at
        if self._accept("{"):
            least = self._number()
            most = least
            if self._accept(","):
                most = self._number()
            if least is not None and self._accept("}"):
                if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
                    raise self._error(f"a repetition of {{{least},{most}}}")
                return least, most
            self.at = start
        return None

    def _number(self) -> int | None:
        start = self.at
        while self._peek().isascii() and self._peek().isdigit() and self.at - start < 9:
            self.at += 1
        return int(self.pattern[start : self.at]) if self.at > start else None

    def _atom(self) -> Tree | None:
        character = self._take()
        if character == "(":
            return self._group()
        if character == "[":
            return Character(self._cased(self._set()))
        if character == ".":
            everything = "s" in self.flags
            return Character(lambda c: everything or c != "\n")
        if character in "^$":
            return Assertion(character + ("m" if "m" in self.flags else ""))
        if character in "*+?":
            raise self._error("nothing to repeat")
        if character == "\\":
            return self._escape()
        # A brace that begins no repetition is a literal.
        return self._literal(character)

    def _literal(self, character: str) -> Tree:
        return Character(self._cased(_range(character, character)))

    def _cased(self, test: Test) -> Test:
        return _folded(test) if "i" in self.flags else test

    def _group(self) -> Tree | None:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise self._error("groups are nested too deeply")
        outer = self.flags
        if self._accept("?"):
            if self._accept("P<") or self._accept("<"):
                while self._take() != ">":
                    pass
            elif self._set_flags():
                self.depth -= 1
                return None
        tree = self._choice()
        if not self._accept(")"):
            raise self._error("a closing parenthesis is missing")
        self.flags = outer
        self.depth -= 1
        return tree

    def _set_flags(self) -> bool:
        """Read ``(?i)`` (true) or ``(?i:`` and ``(?:`` (false)."""
        on = True
        while (character := self._take()) not in ":)":
            if character == "-":
                on = False
            elif character in "imsU":
                self.flags = self.flags | {character} if on else self.flags - {character}
            else:
                raise self._error(f"(?{character} is not supported")
        return character == ")"

    def _escape(self) -> Tree:
        for letter, place in (("b", "b"), ("B", "B"), ("A", "^"), ("z", "$")):
            if self._accept(letter):
                return Assertion(place)
        if self._accept("C"):
            return Character(lambda _: True)
        return Character(self._cased(self._escaped_test()))

    def _escaped_test(self) -> Test:
        """Read what follows a backslash, in or outside of brackets."""
        character = self._take()
        if character.lower() in _CLASSES:
            test = _CLASSES[character.lower()]
            return _not(test) if character.isupper() else test
        if character in "pP":
            return self._property(character == "P")
        literal = self._escaped_character(character)
        return _range(literal, literal)

    def _escaped_character(self, character: str) -> str:
        if character in _ESCAPES:
            return _ESCAPES[character]
        if character == "x":
            braces = self._accept("{")
            start = self.at
            while self._peek() in set("0123456789abcdefABCDEF") and self.at - start < (
                6 if braces else 2
            ):
                self.at += 1
            digits = self.pattern[start : self.at]
            if not digits or (braces and not self._accept("}")) or int(digits, 16) > 0x10FFFF:
                raise self._error("a malformed hexadecimal escape")
            return chr(int(digits, 16))
        if character.isascii() and character.isalnum():
            raise self._error(f"\\{character} is not supported")
        return character

    def _property(self, negated: bool) -> Test:
        name = self._take()
        if name == "{":
            end = self.pattern.find("}", self.at)
            if end < 0:
                raise self._error("a closing brace is missing")
            name, self.at = self.pattern[self.at : end], end + 1
        if name.startswith("^"):
            name, negated = name[1:], not negated
        if name[:1] not in set("LMNPSZC") or len(name) > 2:
            raise self._error(f"the character property {name!r} is not supported")
        has: Test = lambda c: unicodedata.category(c).startswith(name)  # noqa: E731
        return _not(has) if negated else has

    def _set(self) -> Test:
        negated = self._accept("^")
        tests: list[Test] = []
        first = True
        while first or self._peek() != "]":
            tests.append(self._set_item())
            first = False
        self.at += 1
        test = _any(tests)
        return _not(self._cased(test)) if negated else test

    def _set_item(self) -> Test:
        if self._accept("[:"):
            negated = self._accept("^")
            end = self.pattern.find(":]", self.at)
            name = self.pattern[self.at : max(end, self.at)]
            if name not in _POSIX:
                raise self._error(f"the character class [:{name}:] is unknown")
            self.at = end + 2
            return _not(_POSIX[name]) if negated else _POSIX[name]
        low = self._set_character()
        if callable(low):
            return low
        if self._peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in {"", "]"}:
            self.at += 1
            high = self._set_character()
            if callable(high) or high < low:
                raise self._error("a malformed range of characters")
            return _range(low, high)
        return _range(low, low)

    def _set_character(self) -> str | Test:
        character = self._take()
        if character != "\\":
            return character
        if self._peek().lower() in {*_CLASSES, "p"}:
            return self._escaped_test()
        return self._escaped_character(self._take())


@lru_cache(maxsize=64)
def regex(pattern: str) -> Regex:
    """Return the compiled pattern."""
    return Regex(pattern)
