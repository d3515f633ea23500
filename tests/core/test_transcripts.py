"""What does the engine answer, step by step, in the situations that design §4 speaks of?

Each file of `transcripts/` is one story: a line for each event, and under it
what the engine orders. `REWRITE=1` writes the answers anew, for review by eye.

    catalog a(limit=1) b(patience=5 pinned)     the models
    planner one | sets ab bc | groups x(members=ab swap=false) ...
    policy patience=20                          the dials; `engine max_queue=3` the other limits
    10 arrive 1 a priority=1 patience=5         at 10 s; likewise release, ready, progress, lost,
                                                exit, load, unload [now], replace, shutdown [now], tick
      > start a run 1                           what it orders
    show                                        what it looks like, and when it wakes
      = a starting run 1, 1 waiting
"""

import math
import os
from pathlib import Path
from typing import Any

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    CatalogReplaced,
    Command,
    Event,
    Exited,
    Forward,
    LoadRequested,
    Lost,
    Model,
    Phase,
    Planner,
    Policy,
    Progressed,
    Reject,
    Released,
    ShutdownRequested,
    Start,
    Stop,
    Tick,
    UnloadRequested,
    Urgency,
    one_at_a_time,
)
from swapcore.planning import Group, Groups
from tests.core.driven import Driven, together

TRANSCRIPTS = Path(__file__).parent / "transcripts"
KEYS = {"limit": "concurrency_limit", "rev": "revision", "extends": "progress_extends_start"}


def value(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


def options(words: list[str]) -> dict[str, Any]:
    """Read `key=value` and bare flags."""
    pairs = [word.split("=", 1) if "=" in word else [word, "true"] for word in words]
    return {KEYS.get(key, key): value(text) for key, text in pairs}


def named(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Read names, some with options in parentheses: `a(limit=1 pinned) b`."""
    found = list[tuple[str, dict[str, Any]]]()
    while text := text.strip():
        name = text.split("(", 1)[0].split(None, 1)[0]
        text = text[len(name) :]
        inside = ""
        if text.startswith("("):
            inside, text = text[1:].split(")", 1)
        found.append((name, options(inside.split())))
    return found


def models(text: str) -> list[Model]:
    found = list[Model]()
    for name, given in named(text):
        if "revision" in given:
            given["revision"] = str(given["revision"])
        found.append(Model(name, **given))
    return found


def planner(text: str, catalog: list[Model]) -> Planner:
    kind, _, rest = text.partition(" ")
    if kind == "sets":
        return together(*rest.split())
    if kind == "groups":
        groups = [Group(name, **given) for name, given in named(rest)]
        return Groups(groups, [model.id for model in catalog])
    assert kind == "one"
    return one_at_a_time


def event(words: list[str]) -> Event:
    kind, *rest = words
    urgency = Urgency.NOW if rest and rest[-1] == "now" else Urgency.DRAIN
    match kind:
        case "arrive":
            return Arrived(int(rest[0]), rest[1], **options(rest[2:]))
        case "release":
            return Released(int(rest[0]))
        case "ready":
            return BecameReady(rest[0], int(rest[1]))
        case "progress":
            return Progressed(rest[0], int(rest[1]))
        case "lost":
            return Lost(rest[0], int(rest[1]), " ".join(rest[2:]))
        case "exit":
            return Exited(rest[0], int(rest[1]), " ".join(rest[2:]))
        case "load":
            return LoadRequested(tuple(rest))
        case "unload":
            return UnloadRequested(tuple(name for name in rest if name != "now"), urgency)
        case "shutdown":
            return ShutdownRequested(urgency)
        case "replace":
            return CatalogReplaced(Catalog(models(" ".join(rest))))
        case _:
            assert kind == "tick", f"there is no event {kind!r}"
            return Tick()


def seconds(number: float) -> str:
    return f"{round(number, 3):g} s"


def order(command: Command) -> str:
    match command:
        case Start(model, run):
            return f"start {model} run {run}"
        case Stop(model, run, reason, force, target):
            how = "kill" if force else "stop"
            whom = f" for {target}" if target else ""
            return f"{how} {model} run {run}, {reason.value}{whom}"
        case Forward(ticket, model, run):
            return f"forward {ticket} to {model} run {run}"
        case Reject(ticket, refusal, _, retry_after):
            again = "" if retry_after is None else f", again in {seconds(retry_after)}"
            return f"reject {ticket}, {refusal.value}{again}"


def shown(driven: Driven) -> list[str]:
    lines = list[str]()
    snapshot = driven.engine.snapshot()
    for view in snapshot.upstreams:
        words = [view.phase.value if view.run is None else f"{view.phase.value} run {view.run}"]
        words += [
            f"{number} {what}"
            for number, what in ((view.leases, "served"), (view.waiting, "waiting"))
            if number
        ]
        words += [word for word, holds in (("closed", view.closed), ("stuck", view.stuck)) if holds]
        if view.cooling_until is not None:
            words.append(f"cooling for {seconds(view.cooling_until - snapshot.now)}")
        if words != [Phase.STOPPED.value]:
            lines.append(f"{view.model} {', '.join(words)}")
    lines += [
        f"ticket {one.ticket} due at {seconds(one.due)}" for one in snapshot.tickets if one.due is not None
    ]
    if snapshot.wishes:
        lines.append(f"wishes {', '.join(snapshot.wishes)}")
    deadline = driven.engine.deadline
    return [*lines, "sleeps" if deadline is None else f"wakes at {seconds(deadline)}"]


def play(text: str) -> str:
    """Tell an engine a story, and return the story with the engine's answers."""
    told = list[str]()
    setting: dict[str, str] = {}
    driven: Driven | None = None
    for line in text.splitlines():
        if line.startswith(("  >", "  =")):
            continue
        told.append(line)
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0] in {"catalog", "planner", "policy", "engine"}:
            setting[words[0]] = " ".join(words[1:])
            continue
        if driven is None:
            catalog = models(setting["catalog"])
            driven = Driven(
                *catalog,
                planner=planner(setting.get("planner", "one"), catalog),
                policy=Policy(**options(setting.get("policy", "").split())),
                **options(setting.get("engine", "").split()),
            )
        if words == ["show"]:
            told += [f"  = {line}" for line in shown(driven)]
        else:
            told += [f"  > {order(one)}" for one in driven.tell(event(words[1:]), at=float(words[0]))]
    return "\n".join(told) + "\n"


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text("utf-8")
    answered = play(text)
    if os.environ.get("REWRITE"):
        path.write_text(answered, "utf-8")
    assert answered == text or os.environ.get("REWRITE")
    assert "  >" in text, "a story in which nothing is ordered tells nothing"


def test_a_wrong_answer_in_a_transcript_is_seen() -> None:
    right = "catalog a\n0 arrive 1 a\n  > start a run 1\n"
    assert play(right) == right
    assert play(right.replace("run 1", "run 2")) != right.replace("run 1", "run 2")
    assert value("inf") == math.inf
