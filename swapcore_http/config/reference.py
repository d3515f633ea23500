"""Which page tells people all keys of a configuration, what may stand there, and what is meant?"""

import json
from collections.abc import Iterator

import attrs

from swapcore_http.config.described import default_of, described
from swapcore_http.config.kinds import Kind, Shape, kinds_of
from swapcore_http.config.schema import Settings
from swapcore_http.config.setting import settings_of

__all__ = ["reference_page"]

HEAD = """\
# All keys of a configuration

Made from the classes by `swapcore-http schema --markdown`; do not edit. Keys with dots in them stand in
nested mappings. What is null counts as not written. Durations are in seconds, sizes in the unit that is
named. For editors there is a JSON Schema: `swapcore-http schema > schema.json`, and
`# yaml-language-server: $schema=schema.json` as the first line of the configuration.
"""

RECORDS = (Shape.RECORD, Shape.RECORDS, Shape.RECORD_LIST)


def reference_page() -> str:
    """Write the page, in Markdown: a table for the top level, and one for each kind of record below it."""
    return HEAD + "".join(f"\n## {title}\n\n{summary}\n\n{table}" for title, summary, table in _tables())


def _tables() -> Iterator[tuple[str, str, str]]:
    yield "The top level", "What holds for all models.", _table(Settings)
    for cls, places in _places(Settings, "").items():
        summary, *_ = (cls.__doc__ or "").split("\n")
        yield ", ".join(f"`{place}`" for place in places), summary, _table(cls)


def _places(cls: type[attrs.AttrsInstance], above: str) -> dict[type[attrs.AttrsInstance], list[str]]:
    """Find the classes of all records, and where they stand."""
    found: dict[type[attrs.AttrsInstance], list[str]] = {}
    settings = settings_of(cls)
    for name, kind in _own_first(cls):
        if kind.shape in RECORDS:
            place = above + settings[name].key
            below = {Shape.RECORDS: ".NAME", Shape.RECORD_LIST: "[]"}.get(kind.shape, "")
            found.setdefault(kind.of, []).append(place + below)
            for inner, places in _places(kind.of, f"{place}{below}.").items():
                found.setdefault(inner, []).extend(places)
    return found


def _own_first(cls: type[attrs.AttrsInstance]) -> list[tuple[str, Kind]]:
    inherited = {each.name for each in attrs.fields(cls) if each.inherited}
    kinds = kinds_of(cls)
    return [(name, kinds[name]) for name in sorted(kinds, key=lambda name: name in inherited)]


def _table(cls: type[attrs.AttrsInstance]) -> str:
    settings, texts = settings_of(cls), described(cls)
    rows = ["| key | what may stand there | default | meaning |", "| --- | --- | --- | --- |"]
    for name, _ in _own_first(cls):
        setting = settings[name]
        default = default_of(cls, name)
        shown = "" if default in (None, "", []) else f"`{json.dumps(default, ensure_ascii=False)}`"
        cells = (f"`{setting.key}`", setting.expected, shown, texts[name])
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"
