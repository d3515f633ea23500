"""What do tests put in the place of an inference server? This: one process that does as it is told.

Tests never run it in their own process; they build its command line:

    argv(port=5800, name="a", load=0.2)         -> list of words
    command(port="${PORT}", name="a")           -> the same as one string, for `cmd` in configurations

Flags of the command line (keywords of `argv` and `command`, `_` for `-`; True for a bare flag):

    --port N             listen there (0: any; the line "listening on N" says which)
    --host ADDRESS       default 127.0.0.1; ::1 works
    --name MODEL         the model it answers with
    --base /PREFIX       everything lives below this path; elsewhere is 404
    --load SECONDS       refuse connections that long, as llama-server does while it reads its file
    --load-until FILE    refuse connections until that file exists (a handshake instead of a time)
    --health-503         while loading, listen and answer 503 instead of refusing
    --health-path PATH   default /health
    --health-status N    what the health check answers once loaded; default 200 (3xx get a Location)
    --never-ready        the same as --health-status 503
    --hang-health        accept the health check and never answer it
    --hang-first N       do so with the first N of them
    --no-listen          live on without ever listening
    --print TEXT         say that on stderr at the start (may be repeated)
    --flood BYTES        write so many bytes of short lines at the start, before listening
    --long-line BYTES    write one line of that length at the start
    --exit-at-start CODE print, then exit with that status at once
    --exit-after SECONDS exit that long after the start of listening
    --exit-code CODE     with that status; default 0
    --die-when FILE      exit with that status as soon as that file exists, whatever the phase
    --chatter SECONDS    write a line each time so long has passed
    --ignore-sigterm     say "ignoring SIGTERM" and live on
    --exit-on-sigterm CODE  leave in order on SIGTERM, with that status
    --fork-grandchild FILE  fork a child that ignores SIGTERM and holds the output open; its pid goes to FILE
    --setsid-grandchild FILE  likewise, but one that leaves our session and gives up the output

Endpoints:

    GET  /health               see above
    GET  /v1/models            the one model
    POST .../chat/completions  OpenAI-shaped; SSE with `"stream": true`, ending in `data: [DONE]`
    POST .../completions       likewise
    POST .../v1/messages       Anthropic-shaped, likewise
    POST .../embeddings        one small vector per input
    GET  /stream?bytes=N       N bytes, chunked, `size` (65536) at a time
    GET  /events               the log of this process, see below; `?wait=disconnect&count=1&timeout=10`
                               answers once that many events of that kind are there (or 504)
    POST /gate/NAME            lets one waiter at gate NAME pass (`?n=5`: five of them)
    POST /exit?code=N          os._exit(N)
    anything else              (any method; also /echo) a JSON echo: model, method, target (raw), path,
                               query, headers (pairs in order, raw), body_length, body_sha256, body (text of
                               the first 4 KiB)

Completions say which model answers: the text is "MODEL says: w0 w1 w2 " with one word per chunk, `model` is
--name, and `asked` is the `model` the request named.

Knobs for one request: an object `fake` in a JSON body, headers like `X-Fake-Chunks: 5`, or the query; the
first that names a knob decides.

    chunks N       words or pieces of the answer; default 3
    delay S        wait before each chunk
    gate NAME      wait for one POST /gate/NAME before each chunk, or before an unstreamed answer
    read_gate NAME wait for one before reading the body
    padding N      so many extra bytes "x" in each chunk
    die_after N    os._exit(9) after N chunks; 0: before the head (unstreamed, N > 0: after half of the body)
    status N       answer with that status
    framing KIND   chunked (streams), length (the rest), close (delimited by the end of the connection)
    drop           "always": hang up without an answer; "reused": only if this connection served before
    headers        extra response headers: an object in `fake`, or "Name: value|Name: value"

Events: {"name", "pid", "connections", "requests", "in_flight",
"answers": [{path, sent, chunks} of those in flight],
"events": [{"event": "request" | "done" | "disconnect", "path", "sent", "chunks"} ...]}.
`disconnect` is noted when a client hangs up before it has its whole answer. /events, /gate, /exit and health
checks are not noted.
"""

import argparse
import hashlib
import json
import os
import select
import shlex
import signal
import socket
import sys
import threading
import time
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote

KEPT_BODY = 64 * 1024 * 1024


def argv(**flags: object) -> list[str]:
    """Build the command line; see the module's docstring for the flags."""
    # Isolated and without site: it starts in a third of the time, and tests/http is not on its path.
    words = [sys.executable, "-I", "-S", __file__]
    for name, value in flags.items():
        flag = "--" + name.replace("_", "-")
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is True:
                words.append(flag)
            elif item is not False and item is not None:
                words.append(f"{flag}={item}")
    return words


def command(**flags: object) -> str:
    """Build the same as one string that splits into these words."""
    return shlex.join(argv(**flags))


class HungUpError(Exception):
    """The client went away before its answer was complete."""


class Upstream:
    """What all connections share."""

    def __init__(self, flags: argparse.Namespace) -> None:
        self.flags = flags
        self.loaded = threading.Event()
        self.changed = threading.Condition()
        self.gates: dict[str, int] = {}
        self.events: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.connections = 0
        self.requests = 0
        self.checks = 0

    def note(self, event: str, answer: dict[str, Any]) -> None:
        with self.changed:
            self.events.append({"event": event, **answer})
            if event == "request":
                self.requests += 1
                self.answers.append(answer)
            else:
                self.answers.remove(answer)
            self.changed.notify_all()

    def log(self) -> dict[str, Any]:
        return {
            "name": self.flags.name,
            "pid": os.getpid(),
            "connections": self.connections,
            "requests": self.requests,
            "in_flight": len(self.answers),
            "answers": [dict(answer) for answer in self.answers],
            "events": list(self.events),
        }

    def wait_for_events(self, kind: str, count: int, timeout: float) -> bool:
        with self.changed:
            return self.changed.wait_for(
                lambda: [event["event"] for event in self.events].count(kind) >= count, timeout
            )


class Request:
    """One request, and the answer to it."""

    def __init__(self, upstream: Upstream, sock: socket.socket, stream: BinaryIO, line: bytes) -> None:
        self.upstream = upstream
        self.sock = sock
        self.stream = stream
        self.method, self.target, _ = line.decode("latin-1").split(" ", 2)
        raw_path, _, self.raw_query = self.target.partition("?")
        self.path = unquote(raw_path)
        self.query = dict(parse_qsl(self.raw_query, keep_blank_values=True))
        self.headers: list[tuple[str, str]] = []
        while (line := stream.readline(65536).rstrip(b"\r\n")) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            self.headers.append((name, value.strip()))
        self.lower = {name.lower(): value for name, value in self.headers}
        self.knobs: dict[str, Any] = dict(self.query)
        self.knobs |= {n[7:].replace("-", "_"): v for n, v in self.lower.items() if n.startswith("x-fake-")}
        self.body = bytearray()
        self.body_length = 0
        self.body_hash = hashlib.sha256()
        self.keep_alive = self.lower.get("connection", "").lower() != "close"
        self.answer: dict[str, Any] = {"path": self.path, "sent": 0, "chunks": 0}
        self.json: dict[str, Any] = {}

    # Reading

    def read_body(self) -> None:
        if "100-continue" in self.lower.get("expect", "").lower():
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in self.lower.get("transfer-encoding", "").lower():
            while size := int(self.stream.readline().split(b";")[0], 16):
                self._take(size)
                self.stream.readline()
            while self.stream.readline().rstrip(b"\r\n"):
                pass
        else:
            self._take(int(self.lower.get("content-length", "0")))
        try:
            parsed = json.loads(self.body) if self.body[:1] == b"{" else {}
        except ValueError:
            parsed = {}
        self.json = parsed
        fake = parsed.get("fake")
        if isinstance(fake, dict):
            self.knobs |= fake

    def _take(self, size: int) -> None:
        while size > 0:
            data = self.stream.read(min(size, 65536))
            if not data:
                raise HungUpError
            size -= len(data)
            self.body_length += len(data)
            self.body_hash.update(data)
            if len(self.body) < KEPT_BODY:
                self.body += data

    # Waiting, while looking whether the client is still there

    def check_client(self) -> None:
        if select.select([self.sock], [], [], 0)[0]:
            try:
                gone = self.sock.recv(1, socket.MSG_PEEK) == b""
            except OSError:
                gone = True
            if gone:
                raise HungUpError

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check_client()
            time.sleep(min(left, 0.005))
        self.check_client()

    def pass_gate(self, name: str) -> None:
        while True:
            with self.upstream.changed:
                if self.upstream.gates.get(name, 0) > 0:
                    self.upstream.gates[name] -= 1
                    return
                self.upstream.changed.wait(0.005)
            self.check_client()

    def before_chunk(self) -> None:
        if gate := self.knobs.get("gate"):
            self.pass_gate(gate)
        self.pause(float(self.knobs.get("delay", 0)))

    def die_if_due(self, chunks: int) -> None:
        if "die_after" in self.knobs and int(self.knobs["die_after"]) == chunks:
            os._exit(9)

    # Writing

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                sent = self.sock.send(view)
                self.answer["sent"] += sent
                view = view[sent:]
        except OSError:
            raise HungUpError from None

    def head(self, kind: str, *, length: int | None, framing: str, status: int | None = None) -> bytes:
        code = int(self.knobs.get("status", 200)) if status is None else status
        lines = [f"HTTP/1.1 {code} Whatever", f"Content-Type: {kind}", f"X-Model: {self.upstream.flags.name}"]
        extra = self.knobs.get("headers", {})
        if isinstance(extra, str):
            lines += extra.split("|")
        else:
            lines += [f"{name}: {value}" for name, value in extra.items()]
        if 300 <= code < 400:
            lines.append("Location: /v1/models")
        if framing == "close":
            self.keep_alive = False
            lines.append("Connection: close")
        elif framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        else:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send_whole(self, payload: object, *, status: int | None = None) -> None:
        """Send an unstreamed JSON answer."""
        self.die_if_due(0)
        body = json.dumps(payload).encode()
        framing = str(self.knobs.get("framing", "length"))
        head = self.head("application/json", length=len(body), framing=framing, status=status)
        if self.method == "HEAD":
            body = b""
        elif framing == "chunked":
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        if "die_after" in self.knobs:
            self.send(head + body[: len(body) // 2])
            os._exit(9)
        self.send(head + body)

    def send_pieces(self, kind: str, pieces: "list[bytes]", end: bytes = b"") -> None:
        """Send pieces one by one, each in one write, with the knobs between them."""
        self.die_if_due(0)
        framing = str(self.knobs.get("framing", "chunked"))
        length = sum(map(len, pieces)) + len(end)
        self.send(self.head(kind, length=length, framing=framing))
        for number, piece in enumerate(pieces, 1):
            self.before_chunk()
            self.send_piece(piece, framing)
            self.answer["chunks"] = number
            self.die_if_due(number)
        if end:
            self.send_piece(end, framing)
        if framing == "chunked":
            self.send(b"0\r\n\r\n")

    def send_piece(self, piece: bytes, framing: str) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)

    # What is answered

    def handle(self) -> None:
        """Read and answer this request."""
        flags = self.upstream.flags
        if not self.path.startswith(flags.base):
            self.read_body()
            self.send_whole({"error": "outside of the base path"}, status=404)
            return
        path = self.path[len(flags.base) :]
        if path == flags.health_path:
            self.health()
        elif path == "/events":
            self.send_events()
        elif path.startswith("/gate/"):
            self.read_body()
            self.open_gate(path.removeprefix("/gate/"))
        elif path == "/exit":
            os._exit(int(self.query.get("code", "0")))
        else:
            self.upstream.note("request", self.answer)
            outcome = "disconnect"
            try:
                self.serve(path)
                outcome = "done"
            except ConnectionError:
                raise HungUpError from None
            finally:
                self.upstream.note(outcome, self.answer)

    def serve(self, path: str) -> None:
        if gate := self.knobs.get("read_gate"):
            self.pass_gate(gate)
        self.read_body()
        if not self.upstream.loaded.is_set():
            self.send_whole({"error": {"message": "Loading model", "code": 503}}, status=503)
        elif path == "/v1/models":
            name = self.upstream.flags.name
            self.send_whole({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "fake"}]})
        elif path == "/stream":
            total, size = int(self.query.get("bytes", "0")), int(self.query.get("size", "65536"))
            pieces = [b"x" * size] * (total // size) + [b"x" * (total % size)] * (total % size > 0)
            self.send_pieces("application/octet-stream", pieces)
        elif self.method == "POST" and path.endswith("/completions"):
            self.complete(chat=path.endswith("/chat/completions"))
        elif self.method == "POST" and path.endswith("/v1/messages"):
            self.answer_message()
        elif self.method == "POST" and path.endswith("/embeddings"):
            self.embed()
        else:
            self.echo()

    def health(self) -> None:
        flags = self.upstream.flags
        self.read_body()
        self.knobs = {}
        self.upstream.checks += 1
        if flags.hang_health or self.upstream.checks <= flags.hang_first:
            while True:
                self.pause(60)
        loaded = self.upstream.loaded.is_set()
        self.send_whole({"status": "ok"}, status=flags.health_status if loaded else 503)

    def send_events(self) -> None:
        upstream, query = self.upstream, self.query
        self.read_body()
        self.knobs = {}
        timeout = float(query.get("timeout", "10"))
        found = "wait" not in query or upstream.wait_for_events(
            query["wait"], int(query.get("count", "1")), timeout
        )
        with upstream.changed:
            log = upstream.log()
        self.send_whole(log, status=200 if found else 504)

    def open_gate(self, name: str) -> None:
        # Said first: who passes may be all that kept this process from being stopped.
        self.send_whole({"gate": name})
        with self.upstream.changed:
            gates = self.upstream.gates
            gates[name] = gates.get(name, 0) + int(self.query.get("n", "1"))
            self.upstream.changed.notify_all()

    def words(self) -> "list[str]":
        padding = "x" * int(self.knobs.get("padding", 0))
        words = [f"w{number}{padding} " for number in range(int(self.knobs.get("chunks", 3)))]
        if words:
            words[0] = f"{self.upstream.flags.name} says: {words[0]}"
        return words

    def answer_message(self) -> None:
        name, words = self.upstream.flags.name, self.words()
        message: dict[str, Any] = {
            "id": "fake-1",
            "type": "message",
            "role": "assistant",
            "model": name,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 0},
        }
        usage = {"output_tokens": len(words)}
        if not self.json.get("stream"):
            self.before_chunk()
            content = [{"type": "text", "text": "".join(words)}]
            usage = {"input_tokens": 1, **usage}
            self.send_whole({**message, "content": content, "stop_reason": "end_turn", "usage": usage})
            return
        block = {"index": 0, "content_block": {"type": "text", "text": ""}}
        delta = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage}
        events: list[tuple[str, dict[str, Any]]] = [
            ("message_start", {"message": message}),
            ("content_block_start", block),
            *(
                ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": w}})
                for w in words
            ),
            ("content_block_stop", {"index": 0}),
            ("message_delta", delta),
            ("message_stop", {}),
        ]
        pieces = [
            f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode() for kind, data in events
        ]
        self.send_pieces("text/event-stream", pieces)

    def complete(self, *, chat: bool) -> None:
        name, words = self.upstream.flags.name, self.words()
        kind = "chat.completion" if chat else "text_completion"
        common = {"id": "fake-1", "created": 1, "model": name, "asked": self.json.get("model")}
        usage = {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": 1 + len(words)}
        if self.json.get("stream"):
            pieces = []
            for word in words:
                delta = {"delta": {"role": "assistant", "content": word}} if chat else {"text": word}
                choice = {"index": 0, "finish_reason": None, **delta}
                event = {**common, "object": kind + (".chunk" if chat else ""), "choices": [choice]}
                pieces.append(b"data: " + json.dumps(event).encode() + b"\n\n")
            self.send_pieces("text/event-stream", pieces, b"data: [DONE]\n\n")
        else:
            self.before_chunk()
            text = "".join(words)
            said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choice = {"index": 0, "finish_reason": "stop", **said}
            self.send_whole({**common, "object": kind, "choices": [choice], "usage": usage})

    def embed(self) -> None:
        self.before_chunk()
        given = self.json.get("input", "")
        data = [
            {"object": "embedding", "index": index, "embedding": [1.0, 0.5]}
            for index, _ in enumerate(given if isinstance(given, list) else [given])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        self.send_whole({"object": "list", "model": self.upstream.flags.name, "data": data, "usage": usage})

    def echo(self) -> None:
        self.before_chunk()
        self.send_whole(
            {
                "model": self.upstream.flags.name,
                "method": self.method,
                "target": self.target,
                "path": self.path,
                "query": self.raw_query,
                "headers": self.headers,
                "body_length": self.body_length,
                "body_sha256": self.body_hash.hexdigest(),
                "body": self.body[:4096].decode("utf-8", "replace"),
            }
        )


def converse(upstream: Upstream, sock: socket.socket) -> None:
    """Answer the requests of one connection until either side has enough."""
    served = 0
    with sock, sock.makefile("rb") as stream:
        # Without it, writing head and pieces separately shows 40 ms of Nagle and delayed acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while line := stream.readline(65536).rstrip(b"\r\n"):
                request = Request(upstream, sock, stream, line)
                drop = request.knobs.get("drop")
                if drop == "always" or (drop == "reused" and served > 0):
                    return
                request.handle()
                served += 1
                if not request.keep_alive:
                    return
        except (HungUpError, OSError, ValueError):
            return


def fork_grandchild(pid_file: str, *, setsid: bool = False) -> None:
    """Leave a process behind that does not go by itself and holds our output open, or leaves our session."""
    if pid := os.fork():
        with open(pid_file + ".new", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to import.
            file.write(str(pid))
        os.replace(pid_file + ".new", pid_file)  # noqa: PTH105 - likewise.
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if setsid:
        os.setsid()
        for number in (0, 1, 2):
            os.close(number)
    while True:
        signal.pause()


def say(text: str) -> None:
    """Write one line to stderr, as inference servers do."""
    os.write(2, text.encode() + b"\n")


def chatter(seconds: float) -> None:
    """Show that something is going on."""
    while True:
        say("still at it")
        time.sleep(seconds)


def die_when(file: str, code: int) -> None:
    """Wait for the order to die."""
    while not os.path.exists(file):  # noqa: PTH110 - likewise.
        time.sleep(0.002)
    os._exit(code)


def load(upstream: Upstream) -> None:
    """Take as long as the flags say."""
    flags = upstream.flags
    time.sleep(flags.load)
    while flags.load_until and not os.path.exists(flags.load_until):  # noqa: PTH110 - likewise.
        time.sleep(0.002)
    upstream.loaded.set()


def parse(words: "list[str] | None" = None) -> argparse.Namespace:
    """Read the flags described in the module's docstring."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, default=0)
    for name in ("load", "exit-after", "chatter"):
        parser.add_argument(f"--{name}", type=float, default=0)
    for name in ("exit-at-start", "exit-on-sigterm"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("exit-code", "flood", "long-line", "hang-first"):
        parser.add_argument(f"--{name}", type=int, default=0)
    for name in ("health-503", "never-ready", "hang-health", "no-listen", "ignore-sigterm"):
        parser.add_argument(f"--{name}", action="store_true")
    for name in ("base", "load-until", "fork-grandchild", "setsid-grandchild", "die-when"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--name", default="fake")
    parser.add_argument("--health-path", default="/health")
    parser.add_argument("--health-status", type=int, default=200)
    parser.add_argument("--print", action="append", default=[])
    flags = parser.parse_args(words)
    if flags.never_ready:
        flags.health_status = 503
    return flags


def start(flags: argparse.Namespace) -> None:
    """Do what the flags want done before anything listens."""
    if flags.ignore_sigterm:
        signal.signal(signal.SIGTERM, lambda *_: say("ignoring SIGTERM"))
    elif flags.exit_on_sigterm is not None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(flags.exit_on_sigterm))
    for text in flags.print:
        say(text)
    for number in range(0, flags.flood, 64):
        os.write(1, b"%063d\n" % number)
    if flags.long_line:
        sys.stdout.write("y" * flags.long_line + "\n")
        sys.stdout.flush()
    if flags.exit_at_start is not None:
        os._exit(flags.exit_at_start)
    if flags.fork_grandchild:
        fork_grandchild(flags.fork_grandchild)
    if flags.setsid_grandchild:
        fork_grandchild(flags.setsid_grandchild, setsid=True)


def main() -> None:
    """Be the upstream until killed."""
    flags = parse()
    start(flags)
    if flags.chatter:
        threading.Thread(target=chatter, args=[flags.chatter], daemon=True).start()
    if flags.die_when:
        threading.Thread(target=die_when, args=[flags.die_when, flags.exit_code], daemon=True).start()
    upstream = Upstream(flags)
    if flags.no_listen:
        while True:
            signal.pause()
    if flags.health_503:
        threading.Thread(target=load, args=[upstream], daemon=True).start()
    else:
        load(upstream)
    family = socket.AF_INET6 if ":" in flags.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((flags.host, flags.port))
    listener.listen(128)
    say(f"listening on {listener.getsockname()[1]}")
    if flags.exit_after:
        threading.Timer(flags.exit_after, os._exit, [flags.exit_code]).start()
    while True:
        sock, _ = listener.accept()
        upstream.connections += 1
        threading.Thread(target=converse, args=(upstream, sock), daemon=True).start()


if __name__ == "__main__":
    main()
