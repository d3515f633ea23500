"""How are three demo upstreams run behind one endpoint, and what is there to try?"""

import shlex
import sys
from pathlib import Path

from swapcore_http.config import Config, ModelConfig

__all__ = ["demo_config", "demo_hints"]

UPSTREAM = Path(__file__).with_name("upstream.py")
"""Started by its path, in an isolated interpreter: it needs nothing that is installed."""

SAYS = {
    "alpha": "There is room for one of us, and you asked for me: bravo and charlie are not running.",
    "bravo": "While you read this nobody is sent away. Whoever asks for alpha or charlie waits a moment.",
    "charlie": "Ask for all three of us at once and count the swaps: each comes up once, not once a call.",
}
"""What each of the models says of itself."""


JSON = "-H 'Content-Type: application/json'"


def demo_config() -> Config:
    """Describe three models of which one fits at a time."""
    return Config(models=[ModelConfig(name, cmd=_command(name, says)) for name, says in SAYS.items()])


def demo_hints(base_url: str) -> str:
    """Return the lines that someone who sees the demo for the first time can paste into a shell."""
    return f"""\
Three models, and room for one of them at a time. Try, in another terminal:

  # ask alpha: it is started first, which takes about a second
  curl {base_url}/v1/chat/completions {JSON} \\
    -d '{_asked("alpha", "Who are you?")}'

  # ask bravo: alpha leaves, bravo comes up, and its answer streams
  curl -N {base_url}/v1/chat/completions {JSON} \\
    -d '{_asked("bravo", "And you?", stream=True)}'

  # all three, twice over, at once: callers are served model by model
  for model in alpha bravo charlie alpha bravo charlie; do
    curl -s {base_url}/v1/completions {JSON} \\
      -d '{{"model": "'$model'", "prompt": "hi"}}' &
  done; wait

  # what there is, and what is running now
  curl {base_url}/v1/models
  curl {base_url}/running

  # all of it as it happens, in a browser
  {base_url}/ui/
"""


def _command(name: str, says: str) -> str:
    words = shlex.join([sys.executable, "-I", str(UPSTREAM), "--model", name, "--says", says])
    # Not quoted with the rest, so that the command reads as one would write it.
    return f"{words} --port ${{PORT}}"


def _asked(model: str, question: str, *, stream: bool = False) -> str:
    streaming = ', "stream": true' if stream else ""
    return f'{{"model": "{model}"{streaming}, "messages": [{{"role": "user", "content": "{question}"}}]}}'
