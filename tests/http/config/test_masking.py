"""Which parts of a text count as a secret, and which do not?"""

import time

import pytest

from swapcore_http.config.masking import masked_data, masked_text, masked_texts

HIDDEN = {
    "--api-key sk-1 --port 80": "--api-key *** --port 80",
    "--api-key=sk-1 --port 80": "--api-key=*** --port 80",
    "-api_key  'a b' --port 80": "-api_key  *** --port 80",
    '--api-key "a \\" b"c d': "--api-key *** d",
    "--api-key 'never closed": "--api-key ***",
    "--api-key \\\n  sk-1 \\\n  -m x": "--api-key \\\n  *** \\\n  -m x",
    "--hf-token hf_1": "--hf-token ***",
    "--admin-password-hash abc": "--admin-password-hash ***",
    "sh -c 'vllm --api-key sk-1 -m x' y": "sh -c 'vllm --api-key *** -m x' y",
    "docker run -e HF_TOKEN=hf_1 image": "docker run -e HF_TOKEN=*** image",
    "sh -c 'export MY_SECRET=a; run'": "sh -c 'export MY_SECRET=*** run'",
    '--kv \'{"api_key": "a b"}\' x': "--kv '{\"api_key\": ***' x",
    "-H 'Authorization: Bearer a b' url": "-H 'Authorization: ***' url",
    '-H "X-Api-Key: a" url': '-H "X-Api-Key: ***" url',
    "-H 'Cookie: a=b; c=d' url": "-H 'Cookie: ***' url",
    "http://me:p%40w@host:1/x": "http://***@host:1/x",
    "http://key@host/x": "http://***@host/x",
    "http://host/x?token=a&b=1": "http://host/x?token=***",
}

SHOWN = [
    "--max-num-batched-tokens 8192 --tokenizer some/tokenizer",
    "--api-key-file /run/key --ssl-key-file x --token-path y --keep 5",
    "--password --verbose",
    "a & b | token",
    "mail me@host, see http://host/@me",
    "--n-predict 5 -m /models/secret/x.gguf",
]


@pytest.mark.parametrize(("text", "shown"), HIDDEN.items(), ids=HIDDEN)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert masked_text(text) == shown
    assert masked_text(shown) == shown


@pytest.mark.parametrize("text", SHOWN)
def test_the_rest_is_shown(text: str) -> None:
    assert masked_text(text) == text


def test_a_key_tells_what_stands_below_it() -> None:
    data = {"api_key": "a", "Password": 5, "x": [{"token": "b", "tokens": 7}], "secret": True, "y": "token=c"}
    assert masked_data(data) == {
        "api_key": "***",
        "Password": "***",
        "x": [{"token": "***", "tokens": 7}],
        "secret": True,
        "y": "token=***",
    }
    # Where keys are names that the user gives, they tell nothing.
    assert masked_texts({"token": "a", "y": ["token=c"]}) == {"token": "a", "y": ["token=***"]}


@pytest.mark.parametrize(
    "piece", ["token", "token ", "api-key='", 'token="\\', "--a-", "-", "://", "secret:", "token=\\", "x"]
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    start = time.process_time()
    masked_text(text)
    assert time.process_time() - start < 10
