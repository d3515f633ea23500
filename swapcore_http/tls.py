"""Which certificate does the server show?"""

import ssl
from pathlib import Path

from attrs import define, field

from swapcore import SwapcoreError

__all__ = ["CannotShowError", "Tls"]


class CannotShowError(SwapcoreError):
    """The certificate cannot be used; the text says why."""


@define(eq=False, repr=False)
class Tls:
    """A certificate and its key, in files.

    Raises:
        CannotShowError: they cannot be used.
    """

    certificate: Path
    """The certificate and those above it, as PEM."""

    key: Path
    """Its key, as PEM, without a passphrase."""

    context: ssl.SSLContext = field(init=False)
    """What connections are accepted with."""

    def __attrs_post_init__(self) -> None:
        self.context = self._read()

    def renew(self) -> None:
        """Read the files again, for the connections that come from now on.

        Raises:
            CannotShowError: they cannot be used; the old ones still are.
        """
        # Of what cannot be used, a part would already be in place.
        self._read()
        self._load(self.context)

    def _read(self) -> ssl.SSLContext:
        for what, path in (("certificate", self.certificate), ("key", self.key)):
            try:
                path.read_bytes()
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise CannotShowError(f"cannot read the {what} {path}: {why}") from error
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        def ask() -> str:
            # OpenSSL would ask at the terminal, and wait there for ever.
            raise CannotShowError(f"the key {self.key} has a passphrase; expected one without")

        try:
            context.load_cert_chain(self.certificate, self.key, password=ask)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                why = f"the key {self.key} is not that of the certificate {self.certificate}"
            else:
                why = f"the certificate {self.certificate} and the key {self.key} cannot be used"
                why += f"; expected two files in PEM form ({error.reason or error})"
            raise CannotShowError(why) from error
        except OSError as error:
            raise CannotShowError(f"cannot read the certificate {self.certificate}: {error}") from error
