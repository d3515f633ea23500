"""What does a caller read while its model loads?

Pieces of text that pass for what a model thinks before it answers, as clients
of llama-swap know them: which model is loading, the place in the queue when
that changes, and now and then a remark.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final

from swapcore_http.waiting.places import Place

__all__ = ["done", "frame", "narrated"]

PIECE: Final = 5
"""Characters that are written at a time."""

PACE: Final = 75
"""Bytes that are written in a second."""

TICK: Final = 0.75
"""Seconds between two signs of life."""

FIRST_REMARK: Final = (2.0, 5.0)
NEXT_REMARK: Final = (5.0, 9.0)
"""Between how many and how many seconds pass before a remark."""

LINE: Final = "\u2501" * 5

REMARKS: Final = (
    "Moving numbers from where they rest to where they work",
    "Waking up a few billion parameters",
    "Asking the other model to leave, politely",
    "Unrolling the attention",
    "Looking for the last free gigabyte",
    "Letting the fans know",
    "Reading a very long file of very short numbers",
    "Stacking layers, the heavy ones first",
    "Weighing the weights",
    "Sorting tokens by how likely they are to be needed",
    "Airing out the cache",
    "Warming up the cold start",
    "Folding tensors along the dotted line",
    "Convincing the memory bus to hurry",
    "Counting the layers, and counting them again",
    "Still faster than training it from nothing",
    "Tuning the temperature",
    "Putting the kettle on the GPU",
    "Rounding everything to four bits",
    "Teaching the heads where to look",
    "Measuring the room that was just made",
    "Thinking about thinking",
    "Borrowing a little entropy",
    "Almost there, give or take",
)


def frame(text: str) -> bytes:
    """Make the event that shows a piece of text."""
    data = {"choices": [{"delta": {"reasoning_content": text}}]}
    return b"data: %b\n\n" % json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(
        errors="backslashreplace"
    )


async def narrated(model: str, place: Callable[[], Place | None]) -> AsyncGenerator[bytes, None]:
    """Yield events without end, each when it is to be written.

    Args:
        model: The id of the model that loads.
        place: Says where the caller stands.
    """
    for text in (LINE, "\n", f"swapcore loading model: {model}", "\n"):
        async for event in _typed(text):
            yield event
    chance = random.Random()  # noqa: S311 - it chooses remarks.
    clock = asyncio.get_running_loop().time
    remark_at = clock() + chance.uniform(*FIRST_REMARK)
    remarks: list[str] = []
    shown = 1
    while True:
        await asyncio.sleep(TICK)
        standing = place()
        if standing is not None and standing[0] != shown:
            shown = standing[0]
            texts = ["\n", f"Queue position: #{shown}", " "]
        elif clock() >= remark_at:
            remarks = remarks or chance.sample(REMARKS, len(REMARKS))
            texts = ["\n", remarks.pop(), " "]
            remark_at = clock() + chance.uniform(*NEXT_REMARK)
        else:
            texts = ["."]
        for text in texts:
            async for event in _typed(text):
                yield event


def done(seconds: float) -> bytes:
    """Make the events that end the wait; at once, for the answer comes next."""
    texts = ("\n", f"Done! ({seconds:.2f}s)", "\n", LINE, "\n", " ", "\n")
    return b"".join(frame(piece) for text in texts for piece in _pieces(text))


async def _typed(text: str) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of a text, with a pause between two of them."""
    for number, piece in enumerate(_pieces(text)):
        if number:
            await asyncio.sleep(len(piece.encode(errors="replace")) / PACE)
        yield frame(piece)


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))
