"""What does `${NAME}` in a configuration stand for?

Three names are known: `${MODEL_ID}` anywhere in a model, `${PORT}` in a model
whose `cmd` has it, and `${PID}` in `cmdStop`. What looks like a macro and is
none of these is refused, for it would reach a command line as it is.
"""

import re
from collections.abc import Collection, Iterator

__all__ = ["MODEL_ID", "PID", "PORT", "leftovers"]

MODEL_ID = "${MODEL_ID}"
PORT = "${PORT}"
PID = "${PID}"

REFERENCE = re.compile(r"\$\{(?:[A-Za-z0-9_-]+|env\.[A-Za-z_][A-Za-z0-9_]*)\}")


def leftovers(text: str, known: Collection[str], *, in_model: bool = True) -> Iterator[str]:
    """Say what is wrong with each macro in the text that is not known there."""
    for name in dict.fromkeys(REFERENCE.findall(text)):
        if name in known:
            continue
        match name:
            case "${PID}" | "${PORT}" | "${MODEL_ID}" if not in_model:
                yield f"{name} is known inside a model only"
            case "${PID}":
                yield f"{PID} is known in cmdStop only"
            case "${PORT}":
                yield (
                    f"contains {PORT}, but cmd does not; expected {PORT} in cmd too, or a fixed value here"
                )
            case _:
                yield (
                    f"unknown macro {name}; expected {PORT}, {MODEL_ID} or, in cmdStop, {PID}: "
                    "macros of one's own and environment macros come in a later release"
                )
