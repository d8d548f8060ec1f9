"""Who may open the review page: whoever was shown its address, and from then on that browser.

Everybody on a machine reaches its loopback. So the address that the command prints ends in a secret, which is new at
every start; a browser that comes with it gets a cookie, which stays valid when the command is started again, so that
open tabs go on. What the cookie holds is kept in a file that its owner alone can read.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pytest_evalloop.store.home import disk

TOKEN: Final = "token"  # noqa: S105 - a name
"""The name of the secret in the address."""
KEY: Final = "review-key"
"""The file, below `.evalloop/`, that holds what the cookie holds; removing it shuts all browsers out."""
_SECRET: Final = re.compile(r"[\w-]{40,100}")


class Entry:
    """The door of one server: its address lets in, as often as need be, and each `once()` a single time."""

    def __init__(self, lasting: str, port: int) -> None:
        self.cookie = f"evalloop-review-{port}"  # cookies are shared between the ports of a host
        self.token = secrets.token_urlsafe(24)
        self._lasting = lasting
        self._once: set[str] = set()

    def once(self) -> str:
        """Return a token for one use: the command line of a browser can be read by everybody on the machine."""
        token = secrets.token_urlsafe(24)
        self._once.add(token)
        return token

    def opens(self, token: str) -> bool:
        """Whether an address with this token lets in; one that was meant for one use is used up."""
        used = [each for each in self._once if same(each, token)]
        self._once.difference_update(used)
        return same(self.token, token) or bool(used)

    def knows(self, cookies: Iterable[str]) -> bool:
        """Whether a browser that sends these headers `Cookie` was let in before."""
        pairs = (pair.strip().partition("=") for header in cookies for pair in header.split(";"))
        return any(same(self._lasting, value) for name, _, value in pairs if name == self.cookie)

    def grant(self) -> str:
        """Return the header `Set-Cookie` for a browser that was let in."""
        return f"{self.cookie}={self._lasting}; Path=/; HttpOnly; SameSite=Strict"


def same(one: str, other: str) -> bool:
    """Compare secrets by their digests, so that the time it takes tells nothing, not even their length."""
    digests = (hashlib.sha256(each.encode("utf-8", "surrogatepass")).digest() for each in (one, other))
    return hmac.compare_digest(*digests)


def lasting_secret(path: Path) -> str:
    """Return the secret that a file holds, which its owner alone may read; anything else there is replaced.

    Raises StoreError if it can be neither read nor written.
    """
    with disk(f"the key {path}"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # there is none, or one that cannot be used
            return _made(path)
        with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
            status, text = os.fstat(descriptor), file.read(200).strip()
        private = status.st_uid == os.getuid() and not status.st_mode & 0o077
        return text if private and _SECRET.fullmatch(text) else _made(path)


def _made(path: Path) -> str:
    secret = secrets.token_urlsafe(48)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secret}\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return secret
