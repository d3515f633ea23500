"""Tests of how a command line is split."""

import re
import shlex
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swapcore_http.config.command import split, windows_words, without_comments, words

CASES = {
    "plain": ("a b\tc\nd", ["a", "b", "c", "d"]),
    "nothing": (" \n\t ", []),
    "carriage return is no separator": ("a\rb", ["a\rb"]),
    "other blanks are no separators": ("a\x0bb\xa0c", ["a\x0bb\xa0c"]),
    "single quotes are literal": (r"""a 'b \" $x' c""", ["a", r"b \" $x", "c"]),
    "double quotes": ('"a b" c', ["a b", "c"]),
    "escapes in double quotes": (r'"\"\\\$\`"', ['"\\$`']),
    "other backslashes in double quotes stay": (r'"\a\'\n"', [r"\a\'\n"]),
    "escaped newline in double quotes": ('"a\\\nb"', ["ab"]),
    "escapes outside quotes": (r"a\ b \'c \\ \n", ["a b", "'c", "\\", "n"]),
    "escaped newline outside quotes": ("a\\\nb", ["ab"]),
    "escaped newline makes no word": ("a \\\n b", ["a", "b"]),
    "backslash at the very end": ("a\\", ["a"]),
    "lone backslash": ("\\", []),
    "joined parts": ("a'b'\"c\"d", ["abcd"]),
    "empty quotes": ("a '' \"\" b", ["a", "", "", "b"]),
    "open single quote": ("a 'b c", ["a", "b c"]),
    "open double quote": ('a "b c', ["a", "b c"]),
    "open quote with nothing in it": ('a "', ["a", ""]),
    "backslash at the end of an open quote": ('"a\\', ["a\\"]),
    "no shell": ("a | b > c && $D *", ["a", "|", "b", ">", "c", "&&", "$D", "*"]),
    "a quote within the other": ("\"it's\" '\"'", ["it's", '"']),
    "a hash is no comment": ("a # b", ["a", "#", "b"]),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


LINES = {
    "comment lines": ("# x\na\n  # y ${PORT}\n b", ["a", "b"]),
    "comment within quotes": ("a 'b\n# c\nd'", ["a", "b\nd"]),
    "hash after a command": ("a # b\n-c", ["a", "#", "b", "-c"]),
    "continued": ("a \\\n  -b \\\n  -c", ["a", "-b", "-c"]),
    "continued with blanks after the backslash": ("a \\  \n -b", ["a", "-b"]),
    "continued onto a comment": ("a \\\n# x\n-b", ["a", "-b"]),
    "continued within quotes": ("a 'b\\\nc'", ["a", "b \nc"]),
    "two backslashes leave one, which escapes the space": ("a\\\\\nb", ["a ", "b"]),
    "only comments": ("# a\n   # b", []),
    "only a backslash": ("\\", []),
}


@pytest.mark.parametrize(("text", "expected"), LINES.values(), ids=LINES.keys())
def test_split(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_without_comments_keeps_all_other_lines() -> None:
    assert without_comments("a\n\n # b\n\tc # d\n#") == "a\n\n\tc # d"


PIECE = re.compile(
    r"""(?P<nothing>\\(?:\n|\Z))
      | \\(?P<escaped>(?s:.))
      | '(?P<single>[^']*)(?:'|\Z)
      | "(?P<double>(?:\\(?s:.)|[^"\\])*)(?:"|\Z|(?P<dangling>\\)\Z)
      | (?P<gap>[ \t\n]+)
      | (?P<literal>(?s:.))""",
    re.VERBOSE,
)


def reference(text: str) -> list[str]:
    """Split by regular expressions: another way to say the same."""
    result: list[str | None] = [None]
    for piece in PIECE.finditer(text):
        if piece["gap"] is not None:
            result.append(None)
        elif piece["nothing"] is None:
            double = piece["double"]
            if double is not None:
                double = re.sub(r"\\(\n|[\"\\$`])", lambda m: m[1].strip("\n"), double) + (
                    piece["dangling"] or ""
                )
            parts = (piece["escaped"], piece["single"], double, piece["literal"])
            result[-1] = (result[-1] or "") + next(part for part in parts if part is not None)
    return [word for word in result if word is not None]


TRICKY = st.text(alphabet="ab \t\n\r'\"\\$`#", max_size=20)


@given(TRICKY)
@example('"\\')
@example('"\\\\')
@example("'a\\'b")
def test_words_agree_with_another_implementation(text: str) -> None:
    assert words(text) == reference(text)


@given(st.text(alphabet="ab \t\n'\"\\", max_size=20))
def test_words_agree_with_shlex_where_that_has_an_answer(text: str) -> None:
    # shlex keeps escaped newlines, and of escapes in double quotes it knows two.
    if "\\\n" in text:
        return
    try:
        expected = shlex.split(text)
    except ValueError:
        return
    assert words(text) == expected


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n\r\0"))))
def test_quoted_words_come_back(arguments: list[str]) -> None:
    assert words(shlex.join(arguments)) == arguments


WINDOWS = {
    "plain": ("a b\tc\r\nd", ["a", "b", "c", "d"]),
    "nothing": (" \r\n", []),
    "quotes": ('a "b c" "" d"e f"g', ["a", "b c", "", "de fg"]),
    "single quotes are characters": ("'a b'", ["'a", "b'"]),
    "backslashes are characters": (r"C:\dir\x.exe \\host\y\\", ["C:\\dir\\x.exe", "\\\\host\\y\\\\"]),
    "an odd number before a quote makes it a character": (r"a\"b c\\\"d", ['a"b', 'c\\"d']),
    "an even number before a quote leaves it one": (r'"a b\\" c', ["a b\\", "c"]),
    "two quotes within quotes are one": ('"a""b" c', ['a"b', "c"]),
    "an open quote": ('a "b c', ["a", "b c"]),
    "a closing quote at the end": ('"a"', ["a"]),
}


@pytest.mark.parametrize(("text", "expected"), WINDOWS.values(), ids=WINDOWS.keys())
def test_windows_words(text: str, expected: list[str]) -> None:
    assert windows_words(text) == expected


def test_a_command_by_the_rules_of_windows() -> None:
    command = "# comment\nC:\\x.exe \\\n  --a \"b c\"\n  'd'"
    assert split(command, windows=True) == ["C:\\x.exe", "--a", "b c", "'d'"]


@given(st.lists(st.text(alphabet=st.sampled_from(list('ab \t\\"')), max_size=8), max_size=5))
@example(["a\\", '\\"', ""])
def test_words_quoted_for_windows_come_back(arguments: list[str]) -> None:
    assert windows_words(subprocess.list2cmdline(arguments)) == arguments


@given(TRICKY)
def test_windows_words_lose_nothing_but_blanks_quotes_and_backslashes(text: str) -> None:
    kept = "".join(windows_words(text))
    assert [char for char in kept if char not in ' \t\n\r"\\'] == [
        char for char in text if char not in ' \t\n\r"\\'
    ]
