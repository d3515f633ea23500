"""Does the server speak TLS, and say what is wrong with a certificate?"""

import asyncio
import signal
import ssl
from pathlib import Path

import aiohttp
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from swapcore_http import cli
from swapcore_http.tls import CannotShowError, Tls
from tests.http.programs import program, write
from tests.http.test_peers import peer_at

pytestmark = pytest.mark.anyio


def issue(authority: trustme.CA, folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Write a certificate and its key."""
    made = authority.issue_cert(name, "127.0.0.1")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return certificate, key


def shown_by(port: int) -> bytes:
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=60).encode()


async def test_the_program_serves_over_tls_and_reads_a_new_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = issue(authority, tmp_path)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    files = ("--tls-cert-file", str(certificate), "-tls-key-file", str(key))
    async with peer_at() as url:
        config = write(tmp_path, top={"_peers": {"p": {"proxy": url, "models": ["m"]}}}, a={})
        async with program("serve", "--config", str(config), "--listen", "127.0.0.1:0", *files) as server:
            line = await server.until_said("listening on")
            base = line.split("listening on ")[1].split(",")[0]
            assert base.startswith("https://127.0.0.1:")
            body = {"model": "a", "stream": True, "fake": {"chunks": 50}, "padding": "x" * 300_000}
            for _ in range(2):
                async with server.client.post(f"{base}/v1/chat/completions", json=body, ssl=trust) as answer:
                    assert answer.status == 200
                    assert (await answer.text()).endswith("data: [DONE]\n\n")
            async with server.client.ws_connect(f"{base}/upstream/p/m/ws", ssl=trust) as socket:
                assert await socket.receive_str(timeout=60) == "/base/ws"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await server.client.get(base)
            port = int(base.rpartition(":")[2])
            assert await asyncio.to_thread(shown_by, port) in certificate.read_bytes()
            issue(authority, tmp_path)
            server.signal(signal.SIGHUP)
            await server.until_said("the certificate has been read again")
            assert await asyncio.to_thread(shown_by, port) in certificate.read_bytes()
            key.write_text("no key")
            server.signal(signal.SIGHUP)
            await server.until_said("the certificate stays the old one")
            async with server.client.get(f"{base}/health", ssl=trust) as answer:
                assert answer.status == 200
            server.signal()
            assert await server.ends() == 0


def test_what_is_wrong_with_the_files(tmp_path: Path) -> None:
    certificate, key = issue(trustme.CA(), tmp_path)
    (tmp_path / "other").mkdir()
    _, other = issue(trustme.CA(), tmp_path / "other")
    Tls(certificate, key)
    with pytest.raises(CannotShowError, match=r"^cannot read the certificate /no/file: no such file"):
        Tls(Path("/no/file"), key)
    with pytest.raises(CannotShowError, match=r"^cannot read the key .*: is a directory"):
        Tls(certificate, tmp_path)
    with pytest.raises(CannotShowError, match=r"^the key .* is not that of the certificate"):
        Tls(certificate, other)
    with pytest.raises(CannotShowError, match="cannot be used; expected two files in PEM form"):
        Tls(key, key)
    with pytest.raises(CannotShowError, match="cannot be used; expected two files in PEM form"):
        Tls(certificate, certificate)
    (tmp_path / "empty").write_text("")
    with pytest.raises(CannotShowError, match="cannot be used; expected two files in PEM form"):
        Tls(tmp_path / "empty", key)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass"),
        )
    )
    with pytest.raises(CannotShowError, match=r"^the key .* has a passphrase; expected one without"):
        Tls(certificate, key)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tls-cert-file", "c"], "expected both --tls-cert-file and --tls-key-file"),
        (["-tls-key-file", "k"], "expected both --tls-cert-file and --tls-key-file"),
        (["--tls-cert-file", "/no/c", "--tls-key-file", "/no/k"], "cannot read the certificate /no/c"),
    ],
)
def test_options_that_cannot_be(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--demo", *options]) == 1
    assert says in capsys.readouterr().err
