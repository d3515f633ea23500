"""Is a llama-server that was started by hand served in the same way?"""

import pytest

from swapcore_http.init.llama_server import ArgumentsError, from_arguments, name_of

OURS = ("--host", "127.0.0.1", "--port", "${PORT}")

PROGRAM = ("llama-server", *OURS)

CASES = [
    ("-m /m/q.gguf", "q", (*PROGRAM, "-m", "/m/q.gguf"), 0),
    ("--model=/m/q.gguf -ngl 99", "q", (*PROGRAM, "--model", "/m/q.gguf", "-ngl", "99"), 0),
    (
        "llama-server --port 8080 --host 0.0.0.0 -m q.gguf --ctx-size 4096",
        "q",
        (*PROGRAM, "-m", "q.gguf", "--ctx-size", "4096"),
        4096,
    ),
    ("/bin/llama-server -m q.gguf -c x", "q", ("/bin/llama-server", *OURS, "-m", "q.gguf", "-c", "x"), 0),
    ("-m q.gguf -a 'my name,other'", "my name", (*PROGRAM, "-m", "q.gguf", "-a", "my name,other"), 0),
    ("-hf org/Q-GGUF:Q4_K_M", "Q-GGUF:Q4_K_M", (*PROGRAM, "-hf", "org/Q-GGUF:Q4_K_M"), 0),
    (
        "-m '/a b/q-00001-of-00003.gguf' --mlock",
        "q",
        (*PROGRAM, "-m", "/a b/q-00001-of-00003.gguf", "--mlock"),
        0,
    ),
]


@pytest.mark.parametrize(("text", "name", "argv", "context"), CASES)
def test_arguments(text: str, name: str, argv: tuple[str, ...], context: int) -> None:
    found = from_arguments(text)
    assert (found.id, found.argv, found.context, found.env) == (name, argv, context, ())


def test_variables_in_front_are_its_environment() -> None:
    found = from_arguments("CUDA_VISIBLE_DEVICES=1 LC_ALL=C ./llama-server -m q.gguf --override-kv a=b")
    assert found.env == ("CUDA_VISIBLE_DEVICES=1", "LC_ALL=C")
    assert found.argv == ("./llama-server", *OURS, "-m", "q.gguf", "--override-kv", "a=b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no model"),
        ("--port 80", "names no model"),
        ("-m", "names no model"),
        ("-m 'x", "cannot be split into words: No closing quotation"),
    ],
)
def test_wrong_arguments(text: str, message: str) -> None:
    with pytest.raises(ArgumentsError, match=message):
        from_arguments(text)


def test_names() -> None:
    assert name_of("/x/q.Q4_K_M.gguf") == "q.Q4_K_M"
    assert name_of("q-00001-of-00002.gguf") == "q"
    assert name_of(".gguf") == ".gguf"
