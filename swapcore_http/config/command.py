"""Which words does a command line consist of?

No shell is involved: pipes, redirections, variables and globs are literal
arguments. The rules are llama-swap's, for which `shlex` will not do: it
refuses an open quote, takes a carriage return for a space, and leaves the
backslash that a dollar sign has within double quotes.
"""

__all__ = ["split", "without_comments", "words"]

SEPARATORS = " \t\n"
ESCAPED_IN_QUOTES = '"\\$`'


def without_comments(command: str) -> str:
    """Leave out the lines that start with `#`; a `#` after a command is an argument."""
    return "\n".join(line for line in command.split("\n") if not line.strip().startswith("#"))


def split(command: str) -> list[str]:
    """Turn a command as it stands in a configuration into words.

    Comment lines are left out, and a line that ends with a backslash goes on
    in the next one.
    """
    lines = without_comments(command).split("\n")
    return words("\n".join(_continued(line) for line in lines))


def _continued(line: str) -> str:
    trimmed = line.strip()
    return trimmed[:-1] + " " if trimmed.endswith("\\") else line


def words(text: str) -> list[str]:
    """Split at spaces, tabs and newlines, with the quoting of a POSIX shell.

    A quote that is never closed reaches to the end.
    """
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
