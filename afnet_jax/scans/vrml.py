"""VRML 2.0 text -> its nodes (ISO/IEC 14772-1), as far as it takes to find them by name.

A file is parsed in one pass, its number arrays skipped in one go and read only when asked for; nesting and the
number of names are bounded.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

MAX_DEPTH = 32
MAX_TOKENS = 20_000  # names and strings outside the number arrays; true files have about 200
_CHUNK = 2**18  # bytes of numbers parsed at a time: bounds the memory that their tokens take


@dataclasses.dataclass(frozen=True)
class Node:
    """A VRML node: its type and its fields. A number array stays bytes until someone asks for it."""

    type: str
    fields: dict[str, object]

    def below(self):
        """This node and every node in its fields, depth first."""
        yield self
        for value in self.fields.values():
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, Node):
                    yield from child.below()


class VRMLError(ValueError):
    """Text that is no VRML, or none that this module supports; the reader of the file adds its name."""


_SPACE = re.compile(rb"(?:[\s,]+|#[^\r\n]*)*+")
_WORD = re.compile(rb"[^\s,{}\[\]\"#]{1,1000}+")
_STRING = re.compile(rb'"(?:[^"\\]|\\.){0,1000}+"', re.DOTALL)
_COMMENT = re.compile(rb"#[^\r\n]*")


def parse(data: bytes) -> Node:
    """Parses a VRML 2.0 file into a root node whose "children" are the file's own nodes.

    Raises:
        VRMLError: not VRML 2.0 text, cut short, or with prototypes and scripts.
    """
    if not data.startswith(b"#VRML V2.0"):
        raise VRMLError("not a VRML 2.0 file (its first line is not `#VRML V2.0 …`); expected BU-3DFE's …_F3D.wrl")
    return Node("root", {"children": _Parser(data).nodes_until(b"")})


class _Parser:
    """A cursor over the file's bytes."""

    def __init__(self, data: bytes):
        self.data, self.at, self.depth, self.tokens = data, 0, 0, 0

    def peek(self) -> bytes:
        """The next byte that is neither blank nor comment, b"" at the end."""
        if blank := _SPACE.match(self.data, self.at):
            self.at = blank.end()
        return self.data[self.at : self.at + 1]

    def word(self) -> str:
        self.peek()
        return self.token(_WORD, "a name").decode("latin-1")

    def token(self, pattern: re.Pattern, what: str) -> bytes:
        match = pattern.match(self.data, self.at)
        if not match:
            raise self.fault(f"expected {what}")
        self.tokens += 1
        if self.tokens > MAX_TOKENS:
            raise self.fault(f"more than {MAX_TOKENS} names, expected one mesh")
        self.at = match.end()
        return match[0]

    def fault(self, what: str) -> VRMLError:
        line = self.data.count(b"\n", 0, self.at) + 1
        end = " (the file is cut short)" if self.at >= len(self.data) else ""
        return VRMLError(f"line {line}: {what}, found {self.data[self.at : self.at + 20]!r}{end}")

    def expect(self, byte: bytes) -> None:
        if self.peek() != byte:
            raise self.fault(f"expected {byte.decode()!r}")
        self.at += 1

    def nodes_until(self, closing: bytes) -> list[Node]:
        nodes = []
        while self.peek() != closing:
            nodes.append(self.node(self.word()))
        self.at += len(closing)
        return nodes

    def node(self, word: str) -> Node:
        if word == "USE":
            return Node("USE", {"name": self.word()})
        if word == "DEF":
            self.word()
            word = self.word()
        if word in ("PROTO", "EXTERNPROTO", "ROUTE", "Script"):
            raise self.fault(f"{word} is not supported; expected one plain IndexedFaceSet")
        self.expect(b"{")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fault(f"nodes are nested more than {MAX_DEPTH} deep")
        fields = {}
        while self.peek() != b"}":
            name = self.word()
            if name in fields:
                raise self.fault(f"`{name}` stands twice in one {word}")
            fields[name] = self.value()
        self.at += 1
        self.depth -= 1
        return Node(word, fields)

    def value(self) -> object:
        start = self.peek()
        if start == b'"':
            return self.string()
        if start == b"[":
            self.at += 1
            return self.array()
        word = self.word()
        if word in ("TRUE", "FALSE", "NULL"):
            return word
        if word[0] in "+-.0123456789":
            return self.numbers(word)
        return self.node(word)

    def numbers(self, first: str) -> bytes:
        """A field of a few numbers without brackets, such as a colour."""
        words = [first]
        while self.peek() in [b"%c" % byte for byte in b"+-.0123456789"]:
            words.append(self.word())
        return " ".join(words).encode("latin-1")

    def string(self) -> str:
        self.peek()
        return self.token(_STRING, "a string")[1:-1].decode("utf-8", "replace")

    def array(self) -> object:
        start = self.peek()
        if start == b'"':
            strings = []
            while self.peek() != b"]":
                strings.append(self.string())
            self.at += 1
            return strings
        return self.number_array() if start and start in b"]+-.0123456789" else self.nodes_until(b"]")

    def number_array(self) -> bytes:
        # The bulk of the file: skipped in one go, not token by token.
        text, end = bytearray(), -1
        while True:
            if end < self.at:  # at first, and where the bracket found was part of a comment
                end = self.data.find(b"]", self.at)
            if end < 0:
                self.at = len(self.data)
                raise self.fault("expected ']'")
            comment = self.data.find(b"#", self.at, end)
            if comment < 0:
                text += self.data[self.at : end]
                self.at = end + 1
                return bytes(text)
            text += self.data[self.at : comment] + b" "
            line = _COMMENT.match(self.data, comment)
            assert line  # there is a # at its start
            self.at = line.end()


_NUMBER_SET: dict[type, bytes] = {np.float64: b"0123456789+-.eE ", np.int64: b"0123456789+- "}
_BLANKS = bytes.maketrans(b",\t\r\n\f\v", b"      ")


def numbers(body: object, dtype: type, what: str) -> np.ndarray:
    """The numbers of a field that holds a number array, with or without commas and comments.

    Args:
        body: the field's value, as in Node.fields.
        dtype: np.float64 or np.int64.
        what: the field's name, for the fault.

    Raises:
        VRMLError: the field is missing, or holds something that is no such number.
    """
    if not isinstance(body, bytes):
        raise VRMLError(f"the {what} array is missing")
    text = body.translate(_BLANKS)
    strange = text.translate(None, _NUMBER_SET[dtype])  # also keeps out nan, inf and 1_000
    if strange:
        raise VRMLError(f"the {what} array holds {strange[:20]!r}, expected numbers")
    parts: list[np.ndarray] = [np.empty(0, dtype)]
    start = 0
    try:
        while start < len(text):
            end = text.find(b" ", start + _CHUNK)
            end = len(text) if end < 0 else end
            parts.append(np.array(text[start:end].split(), dtype))
            start = end
    except (ValueError, OverflowError):
        raise VRMLError(f"the {what} array holds something that is no number") from None
    return np.concatenate(parts)
