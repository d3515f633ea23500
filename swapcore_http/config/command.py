"""Which words does a command line consist of?

No shell is involved: pipes, redirections, variables and globs are literal
arguments. The rules are llama-swap's, for which `shlex` will not do: it
refuses an open quote, takes a carriage return for a space, and leaves the
backslash that a dollar sign has within double quotes.
"""

import os

__all__ = ["split", "windows_words", "without_comments", "words"]

WINDOWS = os.name == "nt"
"""Whether programs here split their command lines themselves, by the rules of Windows."""

SEPARATORS = " \t\n"
SPECIAL = "'\"\\"
WINDOWS_SEPARATORS = " \t\n\r"
ESCAPED_IN_QUOTES = '"\\$`'


def without_comments(command: str) -> str:
    """Leave out the lines that start with `#`; a `#` after a command is an argument."""
    if "#" not in command:
        return command
    return "\n".join(line for line in command.split("\n") if not line.strip().startswith("#"))


def split(command: str, *, windows: bool = WINDOWS) -> list[str]:
    """Turn a command as it stands in a configuration into words, by the rules of POSIX or Windows.

    Comment lines are left out, and a line that ends with a backslash goes on
    in the next one.
    """
    lines = without_comments(command).split("\n")
    text = "\n".join(_continued(line) for line in lines)
    return windows_words(text) if windows else words(text)


def _continued(line: str) -> str:
    trimmed = line.strip()
    return trimmed[:-1] + " " if trimmed.endswith("\\") else line


def words(text: str) -> list[str]:
    """Split at spaces, tabs and newlines, with the quoting of a POSIX shell.

    A quote that is never closed reaches to the end.
    """
    if not any(map(text.__contains__, SPECIAL)):
        # So it is with most, and of large configurations thousands are split.
        return [word for word in text.replace("\t", " ").replace("\n", " ").split(" ") if word]
    result: list[str] = []
    word: list[str] | None = None  # None between words; an empty list is an argument that is empty so far.
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if not quote and char in SEPARATORS:
            if word is not None:
                result.append("".join(word))
            word = None
            continue
        if char == "\\" and quote != "'":
            follower = text[position : position + 1]
            if follower == "\n" or not (quote or follower):
                # An escaped newline is nothing, and so is a backslash at the very end.
                position += 1
                continue
            if not quote or (follower and follower in ESCAPED_IN_QUOTES):
                position += 1
                char = follower
        elif char == quote or (not quote and char in "'\""):
            quote = "" if quote else char
            char = ""
        word = word or []
        word.append(char)
    if word is not None:
        result.append("".join(word))
    return result


def windows_words(text: str) -> list[str]:
    """Split as programs on Windows do it, by the rules of Microsoft's C runtime.

    Only double quotes quote, and a backslash escapes nothing but one of them:
    2n backslashes before it are n, and one more makes it a character. Within
    quotes two of them are one character.
    """
    result: list[str] = []
    word: list[str] | None = None
    quoted = False
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char in WINDOWS_SEPARATORS and not quoted:
            if word is not None:
                result.append("".join(word))
            word = None
            continue
        word = [] if word is None else word
        if char == "\\":
            end = position
            while text[end : end + 1] == "\\":
                end += 1
            count = end - position + 1
            position = end
            if text[end : end + 1] != '"':
                word.append("\\" * count)
                continue
            word.append("\\" * (count // 2))
            if count % 2:
                word.append('"')
                position += 1
        elif char != '"':
            word.append(char)
        elif quoted and text[position : position + 1] == '"':
            word.append('"')
            position += 1
        else:
            quoted = not quoted
    if word is not None:
        result.append("".join(word))
    return result
