"""Who may come in: tokens, sessions in signed cookies, and the token of each form.

Everything is made of one secret beside the store, so that links and sessions outlive a restart; no
token is kept anywhere. All comparisons take the same time whatever is compared.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from luce.errors import LuceError

LONGEST_NAME = 64
LONGEST_SESSION_S = 30 * 24 * 3600.0


@dataclass(frozen=True)
class Session:
    """A browser's visit.

    Attributes:
        visit: drawn at random; another one after each sign-in.
        name: who it is; "" before they said so.
        since: seconds of the epoch.
    """

    visit: str
    name: str = ""
    since: float = 0.0


class Keys:
    """Makes and checks what is signed with a secret."""

    def __init__(self, secret: bytes):
        self._secret = secret

    @classmethod
    def beside(cls, store: Path) -> "Keys":
        """With the secret in the file `STORE.key`, which only its owner can read; made where it is
        missing.

        Raises:
            LuceError: the file cannot be used.
        """
        path = store.with_name(store.name + ".key")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        except OSError as error:
            raise LuceError(f"{path}: {error}. Name a store in a folder of yours.") from None
        else:
            with os.fdopen(handle, "wb") as stream:
                stream.write(secrets.token_bytes(32))
        secret = path.read_bytes()
        if len(secret) != 32:
            raise LuceError(f"{path} is no key of luce. Move it away; links will change.")
        return cls(secret)

    def token(self, name: str | None) -> str:
        """What lets this person in; None: the token that lets anyone in, under any name."""
        return self._signed("everyone" if name is None else f"person:{name}")

    def admits(self, name: str | None, token: str) -> bool:
        """Whether the token is that of `token(name)`."""
        return hmac.compare_digest(self.token(name).encode(), token.encode("utf-8", "replace"))

    def new_session(self, name: str = "") -> Session:
        """A visit that begins now."""
        return Session(secrets.token_urlsafe(16), name, time.time())

    def cookie(self, session: Session) -> str:
        """The session as a signed text."""
        plain = json.dumps([session.visit, session.name, session.since]).encode()
        body = base64.urlsafe_b64encode(plain).decode().rstrip("=")
        return f"{body}.{self._signed(f'cookie:{body}')}"

    def session(self, cookie: str) -> Session | None:
        """The session that a cookie was made of; None where it was not made here, or long ago."""
        body, _, signature = cookie.partition(".")
        expected = self._signed(f"cookie:{body}").encode()
        if not hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
            return None
        visit, name, since = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if time.time() - since > LONGEST_SESSION_S:
            return None
        return Session(visit, name, since)

    def form_token(self, session: Session) -> str:
        """What every request that changes something must carry in a header."""
        return self._signed(f"form:{session.visit}")

    def is_form_token(self, session: Session, token: str) -> bool:
        """Whether it is that of this session."""
        expected = self.form_token(session).encode()
        return hmac.compare_digest(expected, token.encode("utf-8", "replace"))

    def _signed(self, text: str) -> str:
        made = hmac.new(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return base64.urlsafe_b64encode(made.digest()).decode().rstrip("=")


def clean_name(name: str) -> str:
    """A name as it is kept: Unicode NFC, single spaces.

    Raises:
        LuceError: it is empty, too long, or holds characters that do not show.

    >>> clean_name("  Anna  B ")
    'Anna B'
    """
    found = " ".join(unicodedata.normalize("NFC", name).split())
    if not found or len(found) > LONGEST_NAME:
        raise LuceError(f"A name has 1 to {LONGEST_NAME} characters.")
    if any(unicodedata.category(c).startswith("C") for c in found):
        raise LuceError("A name is made of characters that show.")
    return found
