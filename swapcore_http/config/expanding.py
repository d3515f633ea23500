"""What does plain data say once its macros are replaced?

A macro may use those declared above it: the last one is replaced first, each
once. A model's macro takes the place of the one it overrides.
"""

import re
from collections.abc import Iterable
from typing import Any

from attrs import define, field, frozen

from swapcore_http.config.command import without_comments
from swapcore_http.config.keys import Report
from swapcore_http.config.macros import MODEL_ID, PID, PORT, REFERENCE, MacroValue, as_text, unknown
from swapcore_http.config.problems import Finding, Path, describe
from swapcore_http.config.scalars import ReadingError, as_scalar
from swapcore_http.config.schema import Settings
from swapcore_http.config.setting import settings_of

__all__ = ["Expansion", "expand"]

NAME = re.compile("[A-Za-z0-9_-]{1,63}")
RESERVED = frozenset({"MODEL_ID", "PID", "PORT"})
MACROS, MODELS = "macros", "models"
BY_ID = ("filters", "setParamsByID")
COMMANDS = frozenset({"afterStop", "cmd", "cmdStop"})
KNOWN = frozenset({setting.key.split(".")[0] for setting in settings_of(Settings).values()})
"""The keys at the top level; others are ignored, whatever is in them."""

MOST_CHARACTERS = 4_000_000
"""Characters that all texts may have together after their macros were replaced."""


@frozen(eq=False, repr=False)
class Macro:
    """One macro, and where it is declared."""

    name: str
    value: MacroValue
    path: Path

    @property
    def reference(self) -> str:
        """How it is used."""
        return f"${{{self.name}}}"


@define(eq=False, repr=False)
class Expansion:
    """What is known of the data after its macros were replaced."""

    refused: set[Path] = field(factory=set)
    """What was taken out of the data, because it makes no sense."""

    uses: dict[Path, tuple[Path, ...]] = field(factory=dict)
    """The macros, by where they are declared, that made a value what it is."""

    renamed: dict[Path, Path] = field(factory=dict)
    """Where that was written whose key had macros in it."""


def expand(data: dict[str, Any], report: Report) -> Expansion:
    """Replace all macros in the data, in place, and report those that make no sense.

    `${PORT}` and `${PID}` stay: a run has them.
    """
    expander = Expander(report)
    expander.expand(data)
    return expander.result


class Expander:
    """Replaces macros, and remembers what it met."""

    def __init__(self, report: Report) -> None:
        self.result = Expansion()
        self._report = report
        self._characters = 0
        self._declared: dict[str, list[str]] = {}

    def expand(self, data: dict[str, Any]) -> None:
        """Replace the macros in these settings."""
        macros = self._declarations(data, ())
        models = data.get(MODELS)
        models = models if isinstance(models, dict) else {}
        own = {
            id_: self._declarations(model, (MODELS, id_))
            for id_, model in models.items()
            if isinstance(model, dict)
        }
        for id_, declared in own.items():
            for macro in declared:
                self._declared.setdefault(macro.name, []).append(id_)
        for key in data.keys() & KNOWN - {MACROS, MODELS}:
            self._replace_in(data, key, (key,), Scope(macros, frozenset(), in_model=False))
        for id_, declared in own.items():
            self._expand_model(id_, models[id_], _effective(id_, macros, declared))

    def _declarations(self, data: dict[str, Any], path: Path) -> list[Macro]:
        """Read the macros that are declared there; what is wrong is taken out."""
        where = (*path, MACROS)
        declared = data.get(MACROS)
        if declared is None:
            return []
        if not isinstance(declared, dict):
            self._refuse(
                where, f"{describe(declared)} is not a mapping; expected values by the names of macros"
            )
            del data[MACROS]
            return []
        macros: list[Macro] = []
        for name, value in list(declared.items()):
            fault, at_key = self._fault(name, value)
            if fault is None:
                macros.append(Macro(name, as_scalar(value, ""), (*where, name)))
            else:
                self._refuse((*where, name), fault, at_key=at_key)
                del declared[name]
        return macros

    @staticmethod
    def _fault(name: str, value: object) -> tuple[str | None, bool]:
        if not NAME.fullmatch(name):
            what = f"{describe(name)} is no name for a macro"
            return f"{what}; expected 1 to 63 letters, digits, dashes and underscores", True
        if name in RESERVED:
            return f"the name {name} is reserved; expected another name", True
        try:
            as_scalar(value, "a text, a number or a truth value")
        except ReadingError:
            return (
                f"{describe(value)} is no value of a macro; expected a text, a number or a truth value",
                False,
            )
        if isinstance(value, str) and f"${{{name}}}" in value:
            return f"the macro {name} refers to itself; expected one declared above it, or none", False
        return None, False

    def _expand_model(self, id_: str, model: dict[str, Any], macros: list[Macro]) -> None:
        path = (MODELS, id_)
        known = frozenset({MODEL_ID, PORT})
        for key in list(model):
            if key == MACROS:
                continue
            value = model[key]
            if key in COMMANDS and isinstance(value, str):
                # Comments need no macros. Of comments alone nothing is left, and that is said elsewhere.
                model[key] = value = without_comments(value) or value
                if not without_comments(value):
                    continue
            scope = Scope(macros, known | {PID} if key in ("afterStop", "cmdStop") else known, in_model=True)
            if key == BY_ID[0] and isinstance(value, dict) and isinstance(value.get(BY_ID[1]), dict):
                value[BY_ID[1]] = self._renamed(value[BY_ID[1]], (*path, *BY_ID), scope)
            self._replace_in(model, key, (*path, key), scope)

    def _renamed(self, tables: dict[str, Any], path: Path, scope: "Scope") -> dict[str, Any]:
        """Replace the macros in keys, which are names that callers ask for."""
        result: dict[str, Any] = {}
        written: dict[str, str] = {}
        for key, value in tables.items():
            name = self._replace(key, (*path, key), scope, at_key=True)
            if name is None:
                continue
            text = as_text(name)
            if text in result:
                what = f"is {describe(text)}, as {describe(written[text])} is; expected each name once"
                self._refuse((*path, key), what, at_key=True)
                continue
            result[text] = value
            written[text] = key
            if text != key:
                self.result.renamed[*path, text] = (*path, key)
        return result

    def _replace_in(self, parent: Any, key: Any, path: Path, scope: "Scope") -> None:
        """Replace the macros in a value and in all that is in it."""
        value = parent[key]
        if isinstance(value, str):
            if "${" in value:
                replaced = self._replace(value, path, scope)
                if replaced is not None:
                    parent[key] = replaced
                elif isinstance(parent, dict):
                    del parent[key]
                else:
                    parent[key] = None
        elif isinstance(value, dict):
            for inner in list(value):
                self._replace_in(value, inner, (*path, inner), scope)
        elif isinstance(value, list):
            for inner in range(len(value)):
                self._replace_in(value, inner, (*path, inner), scope)

    def _replace(self, text: str, path: Path, scope: "Scope", *, at_key: bool = False) -> MacroValue | None:
        """Replace the macros in a text; None if there is something wrong with it, which is then reported."""
        value = text
        result: MacroValue = text
        used: list[Macro] = []
        for macro in reversed(scope.macros):
            if macro.reference not in value:
                continue
            used.append(macro)
            replacement = as_text(macro.value)
            growth = value.count(macro.reference) * (len(replacement) - len(macro.reference))
            if self._characters + len(value) + growth > MOST_CHARACTERS:
                what = f"stands for too many characters; expected at most {MOST_CHARACTERS} in all"
                self._refuse(path, what, at_key=at_key, macros=used)
                return None
            # What is a reference and nothing else keeps the type of the value.
            result = macro.value if value == macro.reference else value.replace(macro.reference, replacement)
            if not isinstance(result, str):
                break
            value = result
        if used:
            self.result.uses[path] = tuple(macro.path for macro in used if macro.path)
        if isinstance(result, str):
            self._characters += len(value)
            for reference in dict.fromkeys(REFERENCE.findall(value)):
                if reference not in scope.known:
                    self._refuse_unknown(reference, text, path, scope, used, at_key=at_key)
                    return None
        return result

    def _refuse_unknown(
        self, reference: str, text: str, path: Path, scope: "Scope", used: list[Macro], *, at_key: bool
    ) -> None:
        name = reference[2:-1]
        guilty = next((m for m in reversed(used) if reference in as_text(m.value)), None)
        declared = [macro.name for macro in scope.macros]
        if guilty is not None and name in declared:
            what = f"the macro {guilty.name} uses {reference}, which is declared below it"
            what += "; expected it above: a macro may use those before it"
            related = [guilty, next(macro for macro in scope.macros if macro.name == name)]
        else:
            what = unknown(reference, declared, in_model=scope.in_model)
            if owners := [
                owner for owner in self._declared.get(name, ()) if not scope.in_model or owner != path[1]
            ]:
                where = "it" if not scope.in_model else "this model"
                what += f" ({describe(owners[0])} declares one for itself, which {where} does not see)"
            related = [] if guilty is None else [guilty]
        within = None if at_key or reference not in text else (text, text.index(reference))
        if within is None and used and used[0].reference in text and not at_key:
            within = (text, text.index(used[0].reference))
        self._refuse(path, what, at_key=at_key, macros=related, within=within)

    def _refuse(
        self,
        path: Path,
        message: str,
        *,
        at_key: bool = False,
        macros: Iterable[Macro] = (),
        within: tuple[str, int] | None = None,
    ) -> None:
        self.result.refused.add(path)
        related = tuple(
            (macro.path, f"the macro {macro.name} is declared here") for macro in macros if macro.path
        )
        self._report(Finding(path, message, at_key=at_key, within=within, related=related))


@frozen(eq=False, repr=False)
class Scope:
    """What macros mean in one part of a configuration."""

    macros: list[Macro]
    known: frozenset[str]
    """The references that may stay."""

    in_model: bool


def _effective(id_: str, macros: list[Macro], own: list[Macro]) -> list[Macro]:
    """Merge a model's macros into those of the top level, each override in its place."""
    merged = {"MODEL_ID": Macro("MODEL_ID", id_, ())} | {macro.name: macro for macro in macros}
    return list((merged | {macro.name: macro for macro in own}).values())
