"""The errors of this package."""

from __future__ import annotations

from typing import Optional


class DtfError(Exception):
    """The base of all errors of this package."""


class ConnectionFailed(DtfError):
    """A server did not answer, or answered something that cannot be read. The request may have been carried out."""


class ApiError(DtfError):
    """An error that a server answered.

    ``code`` is its stable name, such as ``not_found``; ``detail`` says in a sentence what was wrong and what is allowed.
    """

    def __init__(self, code: str, detail: str, status: int, retry_after: Optional[float] = None) -> None:
        super().__init__(f"{detail} ({code}, HTTP {status})")
        self.code = code
        self.detail = detail
        self.status = status
        self.retry_after = retry_after

    @property
    def is_retryable(self) -> bool:
        """True if the same request may succeed later."""
        return self.code != "refused" and (self.status >= 500 or self.status in (408, 425, 429))


class FinalError(DtfError):
    """Raised by a function of a worker: the item has failed for good, and no other attempt is made."""


class RetryableError(DtfError):
    """Raised by a function of a worker: another attempt may succeed. Any other exception means the same."""


class Cancelled(DtfError):
    """Raised by :meth:`Context.check` when the item is not wanted any more."""
