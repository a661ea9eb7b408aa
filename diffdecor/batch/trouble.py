"""What goes wrong with files, and whether it passes by itself."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from diffdecor.fits.lock import REASONS

#: What network file systems say when they lose a file, a server, or a connection for a while; not
#: every system knows all of them.
PASSING = {
    getattr(errno, name)
    for name in (
        "ESTALE", "EIO", "EAGAIN", "ETIMEDOUT", "EINTR", "EREMOTEIO", "ENOTCONN", "ECONNRESET",
        "ECONNABORTED", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH",
        "ENOLINK", "ECOMM", "EPIPE", "ESHUTDOWN",
    )
    if hasattr(errno, name)
}  # fmt: skip


def is_passing(error: BaseException) -> bool:
    """Say whether an error, or what it came from, may be gone when it is tried again."""
    return any(code in PASSING for code in _codes(error))


def reason_of(error: OSError) -> str:
    """Return why a file cannot be used, in words: by the first error number behind an error."""
    for code in _codes(error):
        return REASONS.get(code, os.strerror(code))
    return str(error)


def _codes(error: BaseException | None) -> Iterator[int]:
    """Give the error numbers of an error and of those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno is not None:
            yield error.errno
        error = error.__cause__ or error.__context__
