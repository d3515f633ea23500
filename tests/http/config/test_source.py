"""Tests of what YAML is read, what is refused, and where that is said to be."""

from pathlib import Path

import pytest

from swapcore_http.config import ConfigError, load, loads

pytestmark = pytest.mark.usefixtures("parser")

MODEL = "{cmd: 'x ${PORT}'}"


def refusal(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        loads(text, "c.yaml")
    return str(caught.value)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "open bracket": (
        "a: [1\nb: 2",
        (
            "c.yaml:2:2: not valid YAML: expected ',' or ']', but got ':', "
            "while parsing a flow sequence that starts at line 1, column 4\n  2 | b: 2\n    |  ^"
        ),
    ),
    "tab": (
        "models:\n\ta: 1",
        "c.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token\n  2 |  a: 1\n    | ^",
    ),
    "colon": (
        "a: b: c",
        "c.yaml:1:5: not valid YAML: mapping values are not allowed here\n  1 | a: b: c\n    |     ^",
    ),
    "open quote at the end": (
        'a: "x\n',
        (
            "c.yaml:2:1: not valid YAML: found unexpected end of stream, "
            "while scanning a quoted scalar that starts at line 1, column 4"
        ),
    ),
    "unknown escape": (
        'a: "\\q"',
        (
            "c.yaml:1:6: not valid YAML: found unknown escape character 'q', "
            "while scanning a double-quoted scalar that starts at line 1, column 4\n"
            '  1 | a: "\\q"\n    |      ^'
        ),
    ),
    "escape of half a character": (
        'a: b\nc: "\\ud800"',
        (
            "c.yaml:2:4: an escape in this text names half a character (a surrogate)\n"
            '  2 | c: "\\ud800"\n    |    ^'
        ),
    ),
    "control character": (
        "a: 1\nb: \x07",
        "c.yaml:2:4: the character U+0007 is not allowed in YAML\n  2 | b: \\x07\n    |    ^",
    ),
    "not UTF-8": (
        "é: ".encode() + b"\xff\n",
        "c.yaml:1:4: is not UTF-8: byte 0xff\n  1 | é: \ufffd\n    |    ^",
    ),
    "not UTF-8 after a byte order mark": (b"\xef\xbb\xbfa: \xff", "c.yaml:1:4: is not UTF-8: byte 0xff"),
    "UTF-16": ("a: 1".encode("utf-16"), "c.yaml:1:1: is not UTF-8: byte 0x"),
    "surrogate in a text": ("a: \ud800", "c.yaml:1:4: is not UTF-8: byte 0xed"),
    "too large": ("a" * 1_000_001, "c.yaml: is larger than 1000000 bytes"),
    "undefined anchor": (
        "a: *b",
        "c.yaml:1:4: *b refers to an anchor that is not defined above it\n  1 | a: *b\n    |    ^",
    ),
    "anchor in itself": (
        "a: &a [*a]",
        "c.yaml:1:8: *a refers to the value it stands in\n  1 | a: &a [*a]\n    |        ^",
    ),
    "unknown tag": ("a: !x 1", "c.yaml:1:4: the tag !x does not fit here\n  1 | a: !x 1\n    |    ^"),
    "wrong tag": ("a: !!int x", "c.yaml:1:4: the tag !!int does not fit here\n  1 | a: !!int x\n    |    ^"),
    "tag of a truth value on a number": ("a: !!int true", "c.yaml:1:4: the tag !!int does not fit here"),
    "wrong tag of a list": ("a: !!map []", "c.yaml:1:4: the tag !!map does not fit here"),
    "billion laughs": (LAUGHS, "c.yaml:6:12: stands for too many values; expected far fewer uses of anchors"),
    "much text many times": (
        f"a: &a {'x' * 500_000}\nb: [*a, *a, *a, *a, *a, *a, *a, *a]",
        "c.yaml:2:29: stands for too many values; expected far fewer uses of anchors",
    ),
    "too deep": ("[" * 200_000, "c.yaml:1:101: nested too deep; expected at most 100 levels"),
    "too deep in mappings": ("{a: " * 101, "c.yaml:1:401: nested too deep; expected at most 100 levels"),
    "too deep written out": (
        f"a: &a {'[' * 60}{']' * 60}\nb: {'[' * 40}*a{']' * 40}",
        "c.yaml:2:44: nested too deep; expected at most 100 levels",
    ),
    "list": (
        "- a",
        "c.yaml:1:1: a list is not a mapping; expected settings, such as models\n  1 | - a\n    | ^",
    ),
    "scalar": ("5", "c.yaml:1:1: 5 is not a mapping; expected settings, such as models\n  1 | 5\n    | ^"),
    "key that is a list": (
        "? [a]\n: 1",
        "c.yaml:1:3: a list is no key; expected a text\n  1 | ? [a]\n    |   ^",
    ),
    "merge of no mapping": (
        "<<: [{}, 5]",
        (
            "c.yaml:1:10: <<: 5 cannot be merged; expected a mapping, or a list of mappings\n"
            "  1 | <<: [{}, 5]\n    |          ^"
        ),
    ),
    "duplicate keys": (
        f"models:\n  a: {MODEL}\n  b: {MODEL}\n  a: {MODEL}\nttl: 1\nmodels: {{}}",
        (
            f"c.yaml:4:3: models.a: duplicate key; it is at line 2, column 3 already\n"
            f"  4 |   a: {MODEL}\n    |   ^\n"
            "c.yaml:5:1: warning: ttl: unknown key, ignored; it belongs in a model\n  5 | ttl: 1\n    | ^\n"
            "c.yaml:6:1: models: duplicate key; it is at line 1, column 1 already\n  6 | models: {}\n    | ^"
        ),
    ),
    "duplicate keys by text": (
        f"models: {{1: {MODEL}, '1': {MODEL}}}",
        "c.yaml:1:33: models.1: duplicate key",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text: str | bytes, message: str) -> None:
    assert refusal(text).startswith(message)


def test_faults_in_what_is_merged_often_are_said_once() -> None:
    text = "x: &x {a: 1, a: 2}\ny: [{<<: *x}, {<<: *x}, {<<: *x}]"
    assert refusal(text).count("duplicate key") == 1 + 3
    text = "x: &x {<<: {? [a] : 1}}\ny: {<<: [*x, *x, *x]}"
    assert refusal(text).count("no key") == 2


@pytest.mark.parametrize(
    "text", ["", "\n# only a comment\n", "~", "---\n", "models:", "models: {}", "models: ~", "{}"]
)
def test_nothing_is_no_models_and_a_warning(text: str) -> None:
    loaded = loads(text, "c.yaml")
    assert not loaded.config.models
    assert [str(warning) for warning in loaded.warnings] == ["c.yaml: warning: there are no models in it"]


def test_only_the_first_document_counts() -> None:
    loaded = loads(f"models: {{a: {MODEL}}}\n---\nmodels: {{b: {MODEL}}}\n--- [", "c.yaml")
    assert list(loaded.config.models) == ["a"]
    (warning,) = loaded.warnings
    assert str(warning) == (
        "c.yaml:2:1: warning: another document begins here; only the first one is used\n  2 | ---\n    | ^"
    )


def test_byte_order_mark_and_windows_line_ends() -> None:
    loaded = loads("\ufeffmodels:\r\n  a:\r\n    cmd: |\r\n      x\r\n      ${PORT}\r\n".encode())
    assert loaded.config.models["a"].cmd == "x\n${PORT}\n"
    assert refusal("\ufeffmodels: 5").startswith("c.yaml:1:9: models: 5 is not a mapping")
    message = refusal("\ufeffmodels:\r\n  a: 5\r\n")
    assert message.startswith("c.yaml:2:6: models.a: 5 is not a mapping")


def test_anchors_and_merge_keys_are_written_out() -> None:
    loaded = loads("""
        models:
          z: &base {cmd: "one ${PORT} ${MODEL_ID}", ttl: 5, unloadTimeout: 1, aliases: &names [n]}
          <<: {m: *base}
          a: {ttl: 6, <<: [*base, {name: late, ttl: 7, unloadTimeout: 2}], aliases: []}
          m: {<<: *base, aliases: [o]}
    """)
    models = loaded.config.models
    assert list(models) == ["z", "a", "m"]
    assert [
        (each.argv(1)[-1], each.ttl, each.unload_timeout, each.name, each.aliases) for each in models.values()
    ] == [
        ("z", 5, 1, "", ("n",)),
        ("a", 6, 1, "late", ()),
        ("m", 5, 1, "", ("o",)),
    ]


def test_merged_models_stand_where_they_are_merged() -> None:
    loaded = loads(f"models: {{z: {MODEL}, <<: {{m: {MODEL}, z: {{cmd: y}}}}, a: {MODEL}}}")
    assert list(loaded.config.models) == ["z", "m", "a"]
    assert loaded.config.models["z"].cmd == "x ${PORT}"


def test_a_quoted_merge_key_is_a_key() -> None:
    loaded = loads(f"models: {{'<<': {MODEL}}}")
    assert list(loaded.config.models) == ["<<"]


def test_tags_that_fit() -> None:
    loaded = loads(
        "models: !!map {a: {cmd: !!str 5, proxy: 'http://x', ttl: !!int '7', unlisted: !!bool 'true',"
        " aliases: !!seq [! 8], concurrencyLimit: !!float 3, name: !!null ''}}"
    )
    model = loaded.config.models["a"]
    assert (model.cmd, model.ttl, model.unlisted, model.aliases) == ("5", 7, True, ("8",))
    assert (model.concurrency_limit, model.name) == (3, "")


def test_colons_in_lists_are_yaml() -> None:
    loaded = loads("models: {a: {cmd: x, proxy: http://x:80/, aliases: [qwen3:8b, b]}}")
    assert loaded.config.models["a"].aliases == ("qwen3:8b", "b")


def test_load_a_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"models: {{é: {MODEL}}}", encoding="utf-8")
    assert list(load(path).config.models) == ["é"]
    assert list(load(str(path)).config.models) == ["é"]


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d").mkdir()
    Path("loop").symlink_to("loop")
    with open("huge", "wb") as huge:  # noqa: PTH123 - sparse, so that it costs nothing.
        huge.truncate(10**12)
    for name, message in {
        "missing": "missing: no such file",
        "d": "d: is a directory; expected a YAML file",
        "loop": "loop: cannot be read: Too many levels of symbolic links",
        "a\0b": "a\\x00b: cannot be the name of a file: embedded null byte",
        "huge": "huge: is larger than 1000000 bytes",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load(name)
        assert str(caught.value) == message


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests may run as root, who may read everything.
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ConfigError) as caught:
        load("c.yaml")
    assert str(caught.value) == "c.yaml: permission denied; this user may not read the file"
