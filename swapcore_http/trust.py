"""Whose certificates does the server trust where it is a client, and when does it read them?

aiohttp reads all authorities that the system trusts while it is imported, and
that twice: 60 ms, a sixth of the start of a server. Most servers only ever ask
upstreams of their own machine, without TLS. So `serve` has it imported by
`import_aiohttp`, and whoever asks with aiohttp says `ssl=trust_for(url)`, which
reads them at the first https URL.
"""

import functools
import os
import ssl

__all__ = ["authorities", "import_aiohttp", "trust_for"]

FILE = "SSL_CERT_FILE"
"""Where OpenSSL is told in which file the authorities are."""


def import_aiohttp() -> None:
    """Import it with OpenSSL told of a file without authorities, and so find none for its own contexts."""
    before = os.environ.get(FILE)
    os.environ[FILE] = os.devnull
    try:
        import aiohttp  # noqa: F401, PLC0415 - for what it does then.
    finally:
        if before is None:
            del os.environ[FILE]
        else:
            os.environ[FILE] = before


@functools.cache
def authorities() -> ssl.SSLContext:
    """Return what aiohttp is to be given as `ssl` for what may come to be asked by TLS."""
    return ssl.create_default_context()


def trust_for(url: str) -> ssl.SSLContext | bool:
    """Return the same for a request of that URL alone, which is not sent on."""
    return authorities() if url.lower().startswith("https:") else True
