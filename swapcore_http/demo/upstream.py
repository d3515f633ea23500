"""What does an inference server look like from outside? An OpenAI-shaped one that has no model.

    python -m swapcore_http.demo.upstream --port 5800 --model alpha

It takes a while to "load", says which model it is, and streams as slowly as a
model thinks. It uses the standard library alone, so that it starts at once.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

__all__ = ["main"]

BODY_BYTES = 16 * 1024 * 1024
"""The largest request that is read."""

QUOTED = 200
"""How much of a question is repeated in the answer."""

Json = dict[str, Any]


class Upstream(ThreadingTCPServer):
    """The one pretended model, and its socket."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], model: str, *, says: str, load: float, pause: float) -> None:
        self.model = model
        self.says = says
        self.pause = pause
        self.loaded = threading.Event()
        self._load = load
        super().__init__(address, Handler)

    def load(self) -> None:
        """Pretend to read a file of weights, and say so on the way."""
        for quarter in range(4):
            log(f"{self.model}: loading, {quarter * 25} %")
            time.sleep(self._load / 4)
        self.loaded.set()
        log(f"{self.model}: loaded, process {os.getpid()} answers on port {self.server_address[1]}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Take it as usual that callers hang up before they have heard all."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def words(self, question: str) -> list[str]:
        """Return the answer, word by word, spaces kept."""
        text = f"This is {self.model}, process {os.getpid()}. {self.says}".rstrip()
        if question:
            text += f" You said: {question[:QUOTED]}"
        return [word + " " for word in text.split(" ")]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "swapcore-demo"
    disable_nagle_algorithm = True
    server: Upstream

    def do_GET(self) -> None:
        """Answer the health check and the list of models."""
        match urlsplit(self.path).path:
            case "/health" | "/v1/models" if not self.server.loaded.is_set():
                self._refuse(503, "Loading model")
            case "/health":
                self._answer({"status": "ok"})
            case "/v1/models":
                model = {
                    "id": self.server.model,
                    "object": "model",
                    "created": 0,
                    "owned_by": "swapcore-demo",
                }
                self._answer({"object": "list", "data": [model]})
            case path:
                self._refuse(404, f"there is nothing at {path}")

    def do_POST(self) -> None:
        """Answer completions, chatting or not."""
        try:
            body = self._body()
        except ValueError as error:
            # What was not read of it would be taken for the next request.
            self.close_connection = True
            self._refuse(400, f"the request cannot be read: {error}")
            return
        match urlsplit(self.path).path:
            case _ if not self.server.loaded.is_set():
                self._refuse(503, "Loading model")
            case "/v1/chat/completions":
                self._complete(body, question_of_chat(body), chat=True)
            case "/v1/completions":
                self._complete(body, as_text(body.get("prompt")), chat=False)
            case path:
                self._refuse(404, f"the demo upstream has no {path}")

    def log_message(self, *_: object) -> None:
        """Keep quiet: the proxy in front logs requests."""

    def _body(self) -> Json:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= BODY_BYTES:
            raise ValueError(f"its Content-Length is {length}, expected 1 to {BODY_BYTES}")
        body = json.loads(self.rfile.read(length))
        if not isinstance(body, dict):
            raise ValueError("it is no JSON object")  # noqa: TRY004 - what came is wrong, not its use.
        return body

    def _complete(self, body: Json, question: str, *, chat: bool) -> None:
        words = self.server.words(question)
        kind = "chat.completion" if chat else "text_completion"
        answer: Json = {
            "id": f"demo-{time.time_ns()}",
            "object": kind,
            "created": int(time.time()),
            "model": self.server.model,
        }
        counted = len(question.split())
        usage = {
            "prompt_tokens": counted,
            "completion_tokens": len(words),
            "total_tokens": counted + len(words),
        }
        if body.get("stream"):
            answer["object"] = kind + (".chunk" if chat else "")
            self._stream(
                # The last event has the count, as llama-server's has.
                answer | {"choices": [choice]} | ({"usage": usage} if choice["finish_reason"] else {})
                for choice in self._choices(words, chat=chat)
            )
        else:
            time.sleep(self.server.pause * len(words))
            text = "".join(words).rstrip()
            said: Json = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            self._answer(
                answer | {"choices": [{"index": 0, "finish_reason": "stop", **said}], "usage": usage}
            )

    def _choices(self, words: list[str], *, chat: bool) -> Iterator[Json]:
        """Yield what each event of a stream says, as slowly as a model thinks."""
        for number, word in enumerate(words):
            if number:
                time.sleep(self.server.pause)
            role: Json = {} if number else {"role": "assistant"}
            said: Json = {"delta": {**role, "content": word}} if chat else {"text": word}
            yield {"index": 0, "finish_reason": None, **said}
        nothing: Json = {"delta": {}} if chat else {"text": ""}
        yield {"index": 0, "finish_reason": "stop", **nothing}

    def _stream(self, events: Iterator[Json]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _refuse(self, status: int, message: str) -> None:
        self._answer({"error": {"code": status, "message": message, "type": "demo_error"}}, status)

    def _answer(self, payload: Json, status: int = 200) -> None:
        body = json.dumps(payload).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def question_of_chat(body: Json) -> str:
    """Return the text of the last message of a chat."""
    match body.get("messages"):
        case [*_, {"content": content}]:
            return as_text(content)
    return ""


def as_text(content: object) -> str:
    """Return text that came as a string or as a list of parts."""
    match content:
        case str():
            return content
        case [*parts]:
            return " ".join(filter(None, map(as_text, parts)))
        case {"text": str(text)}:
            return text
    return ""


def log(line: str) -> None:
    """Say something where inference servers do."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(
        description="An OpenAI-shaped server without a model, for trying swapcore."
    )
    parser.add_argument("--port", type=int, required=True, help="where to listen, on 127.0.0.1")
    parser.add_argument("--model", required=True, help="the name to answer with")
    parser.add_argument("--says", default="", help="what to say beside the name")
    parser.add_argument("--load", type=float, default=1.0, help="seconds that loading takes (default 1)")
    parser.add_argument("--pause", type=float, default=0.03, help="seconds between two words (default 0.03)")
    flags = parser.parse_args()
    with Upstream(
        ("127.0.0.1", flags.port), flags.model, says=flags.says, load=flags.load, pause=flags.pause
    ) as upstream:
        threading.Thread(target=upstream.load, daemon=True).start()
        upstream.serve_forever()


if __name__ == "__main__":
    main()
