"""What does it cost to record one request: while it is served, and later, when it is digested?"""

import json
import time
from collections.abc import Callable, Iterator

from swapcore_http.activity.captures import Captures
from swapcore_http.activity.digest import digest
from swapcore_http.activity.recording import Budget, Recording
from swapcore_http.activity.store import Store
from tests.bench.measure import Figure, figure
from tests.bench.targets import Options

REQUESTS = 2_000
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello " * 20}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
    }
).encode()
FIELDS = ((b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(ANSWER)), (b"Server", b"x"))
ASKED = ((b"Host", b"x"), (b"Authorization", b"Bearer x"), (b"Accept", b"*/*"))
BUDGET = Budget(lambda _: True, lambda _: None, lambda *_: None)


def run(options: Options) -> Iterator[Figure]:
    serving, later, parsing = [], [], []
    for _ in range(5 if options.short else 15):
        recordings: list[Recording] = []
        captures, store = Captures(5 << 20), Store(None, 1000)

        def keep(recordings: list[Recording] = recordings) -> None:
            recordings.append(_record())

        def process(
            recordings: list[Recording] = recordings, captures: Captures = captures, store: Store = store
        ) -> None:
            done = digest(recordings.pop(), 0.0)
            number = store.add([done.entry])
            if done.capture is not None:
                captures.keep(number, done.capture)

        serving.append(_each(keep))
        later.append(_each(process))
        parsing.append(_each(lambda: json.loads(ANSWER)))
    yield figure("recording: on the way of a request", serving, "µs", baseline=parsing)
    yield figure("recording: later, beside a json.loads of the answer", later, "µs", baseline=parsing)


def _record() -> Recording:
    recording = Recording("a", "/v1/chat/completions", BUDGET, (ASKED, ANSWER))
    recording.leased(1)
    recording.head(200, FIELDS)
    recording.feed(ANSWER)
    recording.end(whole=True)
    recording.close()
    return recording


def _each(do: Callable[[], object]) -> float:
    """Return the microseconds of processor time that it takes once."""
    begun = time.process_time()
    for _ in range(REQUESTS):
        do()
    return (time.process_time() - begun) / REQUESTS * 1e6
