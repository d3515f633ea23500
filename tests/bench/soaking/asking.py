"""What does one client ask for, when does it hang up, and was the answer right?

The answer is read with h11, which knows nothing of ours: what is framed wrongly,
or ends before its end, does not pass.
"""

import asyncio
import hashlib
import json
import random
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from enum import StrEnum
from typing import Any

import h11
from attrs import define, field, frozen

READ = 64 * 1024


class Verdict(StrEnum):
    """What came of a request."""

    WHOLE = "whole"
    REFUSED = "refused with a reason"
    BROKEN = "broken off"
    """The answer had begun; the client could see that it was not whole."""

    GONE = "hung up on"
    LOST = "lost"
    """No answer, a wrong one, or one that looks whole and is not."""

    STALE = "asked on a connection that had just been closed"
    """Nothing was answered and nothing was lost: the client asks again."""


class Leave(StrEnum):
    """When a client hangs up."""

    IN_BODY = "before the body is whole"
    WAITING = "while it waits"
    IN_ANSWER = "mid-stream"


class Kind(StrEnum):
    CHAT = "chat"
    STREAM = "stream"
    UPLOAD = "upload"


@frozen
class Ask:
    """One request, and what its client does."""

    model: str
    kind: Kind
    chunks: int = 3
    padding: int = 0
    delay: float = 0.0
    upload: int = 0
    """Bytes."""

    die_after: int | None = None
    """Chunks after which the upstream is to crash."""

    leave: Leave | None = None
    after: float = 0.0
    """The share of the body or of the answer after which it leaves, or the seconds."""

    rudely: bool = False
    """Whether it leaves with a reset."""

    slowly: bool = False
    """Whether it reads slowly."""

    @property
    def text(self) -> str:
        """What the model says."""
        pad = "x" * self.padding
        return f"{self.model} says: " + "".join(f"w{number}{pad} " for number in range(self.chunks))


def some_ask(chance: random.Random, models: tuple[str, ...]) -> Ask:
    """Make one up."""
    kind = chance.choices(list(Kind), (3, 6, 1))[0]
    leave = chance.choice(list(Leave)) if chance.random() < 0.25 else None
    after = chance.expovariate(2) if leave is Leave.WAITING else chance.random()
    upload = 0
    if kind is Kind.UPLOAD:
        upload = 9 * 2**20 if chance.random() < 0.02 else chance.randrange(2**18)
    large = kind is Kind.STREAM and chance.random() < 0.02
    return Ask(
        chance.choice(models),
        kind,
        chunks=chance.randrange(1, 20),
        padding=30_000 if large else chance.randrange(500),
        delay=chance.choice((0, 0, 0, 0.01, 0.05)),
        upload=upload,
        die_after=chance.randrange(3) if kind is not Kind.UPLOAD and chance.random() < 0.001 else None,
        leave=leave,
        after=after,
        rudely=chance.random() < 0.5,
        slowly=large,
    )


@define
class Wire:
    """One connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    state: h11.Connection = field(factory=lambda: h11.Connection(h11.CLIENT))
    used: bool = False

    @classmethod
    async def open(cls, port: int) -> "Wire":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=READ))

    @property
    def reusable(self) -> bool:
        return self.state.our_state is h11.DONE and self.state.their_state is h11.DONE

    async def send(self, event: h11.Event) -> None:
        data = self.state.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    async def events(self, *, slowly: bool = False) -> AsyncIterator[h11.Event]:
        """Yield what comes, up to the end of the answer.

        Raises:
            h11.RemoteProtocolError: it is not whole, or no HTTP.
            ConnectionError: it broke off.
        """
        while True:
            event = self.state.next_event()
            if event is h11.NEED_DATA:
                if slowly:
                    await asyncio.sleep(0.005)
                self.state.receive_data(await self.reader.read(READ // 4 if slowly else READ))
                continue
            assert not isinstance(event, type)
            yield event
            if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return

    async def close(self, *, rudely: bool = False) -> None:
        if rudely:
            sock = self.writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@define
class Answer:
    """What a client has got."""

    status: int = 0
    fields: dict[str, str] = field(factory=dict)
    content: bytearray = field(factory=bytearray)
    whole: bool = False


class LeftError(Exception):
    """The client hung up; the text says when."""


async def perform(wire: Wire, ask: Ask, tag: str) -> tuple[Verdict, str]:
    """Ask, and judge the answer.

    Args:
        wire: An open connection; it is still good afterwards if it is `reusable`.
        ask: What to ask for.
        tag: Nobody else's, and asked back.

    Returns:
        The verdict, and what there is to say about it.
    """
    body = body_of(ask, tag)
    answer = Answer()
    try:
        await _send(wire, ask, tag, body)
        await _receive(wire, ask, answer)
    except LeftError as left:
        return Verdict.GONE, str(left)
    except (h11.RemoteProtocolError, ConnectionError) as error:
        if not answer.status:
            if wire.used:
                return Verdict.STALE, ""
            return Verdict.LOST, f"no answer: {error!r}"
        return Verdict.BROKEN, str(answer.status)
    wire.used = True
    return judge(ask, tag, body, answer)


def body_of(ask: Ask, tag: str) -> bytes:
    if ask.kind is Kind.UPLOAD:
        return random.Random(tag).randbytes(ask.upload)
    said = {"model": ask.model, "messages": [{"role": "user", "content": tag}]}
    return json.dumps({**said, "stream": ask.kind is Kind.STREAM}).encode()


async def _send(wire: Wire, ask: Ask, tag: str, body: bytes) -> None:
    fields = {
        "Host": "localhost",
        "Content-Length": str(len(body)),
        "Content-Type": "application/json",
        "X-Fake-Chunks": str(ask.chunks),
        "X-Fake-Padding": str(ask.padding),
        "X-Fake-Delay": str(ask.delay),
        "X-Fake-Headers": f"X-Ask: {tag}",
    }
    if ask.die_after is not None:
        fields["X-Fake-Die-After"] = str(ask.die_after)
    target = "/v1/chat/completions"
    if ask.kind is Kind.UPLOAD:
        fields["Content-Type"] = "application/octet-stream"
        target = f"/upstream/{ask.model}/echo"
    await wire.send(h11.Request(method="POST", target=target, headers=list(fields.items())))
    if ask.leave is Leave.IN_BODY:
        await wire.send(h11.Data(data=body[: int(ask.after * len(body))]))
        raise LeftError(Leave.IN_BODY)
    await wire.send(h11.Data(data=body))
    await wire.send(h11.EndOfMessage())


async def _receive(wire: Wire, ask: Ask, answer: Answer) -> None:
    waiting = ask.after if ask.leave is Leave.WAITING else None
    enough = ask.after * len(ask.text) if ask.leave is Leave.IN_ANSWER else None
    events = wire.events(slowly=ask.slowly)
    try:
        async with asyncio.timeout(waiting) as limit:
            async for event in events:
                match event:
                    case h11.Response():
                        limit.reschedule(None)
                        answer.status = event.status_code
                        answer.fields = {name.decode(): value.decode() for name, value in event.headers}
                    case h11.Data():
                        answer.content += event.data
                        if enough is not None and len(answer.content) > enough:
                            raise LeftError(Leave.IN_ANSWER)
                    case h11.EndOfMessage():
                        answer.whole = True
    except TimeoutError:
        raise LeftError(Leave.WAITING) from None
    finally:
        await events.aclose()  # type: ignore[attr-defined]
    if not answer.status:
        raise ConnectionResetError("closed in order")


COOLING = "503, to be asked again later"
"""What is said of a refusal because the model failed lately."""

COMMENT = re.compile(rb"^:[^\n]*\n\n", re.MULTILINE)
"""What a stream says while it waits."""

HONEST = {429, 502, 503, 504, 507}
"""Statuses that say what happened."""


def judge(ask: Ask, tag: str, body: bytes, answer: Answer) -> tuple[Verdict, str]:
    """Judge a whole answer."""
    content = bytes(answer.content)
    if answer.status != 200:
        return _judge_refusal(ask, answer, content)
    if "x-model" not in answer.fields and answer.fields.get("x-swap-model") == ask.model:
        # It waited for so long that the stream was begun for it, so that no proxy gives up.
        content = COMMENT.sub(b"", content)
        if (refusal := _event_of_refusal(content)) is not None:
            return refusal
    elif answer.fields.get("x-ask") != tag or answer.fields.get("x-model") != ask.model:
        return Verdict.LOST, f"{ask.model} was asked, and this is another's answer: {answer.fields}"
    try:
        wrong = _wrong(ask, body, content)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        wrong = repr(error)
    if wrong:
        return Verdict.LOST, f"a wrong 200 from {ask.model} to {ask}: {wrong}; {content[-200:]!r}"
    return Verdict.WHOLE, "200"


def _event_of_refusal(content: bytes) -> tuple[Verdict, str] | None:
    """Find the event that tells a stream which has been begun why it ends."""
    *_, last, rest = (b"\n\n" + content).split(b"\n\n")
    if rest or not last.startswith(b'data: {"src": "swapcore"'):
        return None
    try:
        message = json.loads(last.removeprefix(b"data: "))["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = ""
    if not message:
        return Verdict.LOST, f"an error without a reason: {content!r}"
    return Verdict.REFUSED, "200, an error as an event"


def _judge_refusal(ask: Ask, answer: Answer, content: bytes) -> tuple[Verdict, str]:
    status = answer.status
    try:
        message = json.loads(content)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = ""
    if not message or not (status in HONEST or (status == 404 and ask.model == "late")):
        return Verdict.LOST, f"{status} for {ask.model}: {content[:300]!r}"
    cooling = status == 503 and "retry-after" in answer.fields
    return Verdict.REFUSED, COOLING if cooling else str(status)


def _wrong(ask: Ask, body: bytes, content: bytes) -> str:
    """Say what is wrong with an answer, if anything is."""
    if ask.kind is Kind.UPLOAD:
        echo = json.loads(content)
        return "" if echo["body_sha256"] == hashlib.sha256(body).hexdigest() else "another body arrived"
    if ask.kind is Kind.CHAT:
        text = json.loads(content)["choices"][0]["message"]["content"]
    else:
        *events, last, rest = content.decode().split("\n\n")
        if last != "data: [DONE]" or rest:
            return "no end"
        text = "".join(_delta(event) for event in events)
    return "" if text == ask.text else "another text"


def _delta(event: str) -> str:
    said: dict[str, Any] = json.loads(event.removeprefix("data: "))
    return str(said["choices"][0]["delta"]["content"])
