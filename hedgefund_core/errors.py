"""Every error of the product, named by what the caller must do.

::

    HedgefundError
    ├── ConfigError            refuse to start: name file and key                           exit 3
    ├── DataUnavailable        retry with backoff, then breaker, then the fallback source   exit 7
    ├── DataInvalid            quarantine; a blocking check fails, downstream does not run  exit 4
    ├── DataStale              no new exposure                                              exit 4
    ├── ModelUnavailable       stand still; alert                                           exit 7
    ├── ModelMismatch          keep the last good bundle; alert                             exit 4
    │   └── ModelOutdated      the program's feature code has changed since: promote again  exit 4
    ├── BrokerUnavailable      surely not done: retry                                       exit 6
    ├── OrderRejected          a definite no: final, never retried                          exit 6
    ├── OrderOutcomeUnknown    look up by client_order_id; never resend blindly             exit 6
    ├── Halted                 a person must resume, or another executor holds the account  exit 5
    ├── JournalError           halt: do not trade what cannot be written down               exit 1
    └── InvariantViolation     our own books disagree: halt, alert, keep the evidence       exit 1

Expected outcomes (a denied order, a failed gate) are values, not exceptions.
"""

from __future__ import annotations


class HedgefundError(Exception):
    """Base of all. ``mend`` is the command or action that mends it, shown to the user."""

    exit_code: int = 1

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


class ConfigError(HedgefundError):
    """A setting is missing or wrong: refuse to start, naming file and key."""

    exit_code = 3


class DataUnavailable(HedgefundError):
    """What is needed is not there or does not answer now: make it, try again later, or use the fallback source."""

    exit_code = 7


class DataInvalid(HedgefundError):
    """Data breaks its schema or bounds: quarantine it; what depends on it must not run."""

    exit_code = 4


class DataStale(HedgefundError):
    """Data is older than its bound: no new exposure."""

    exit_code = 4


class ModelUnavailable(HedgefundError):
    """No model is promoted or the registry cannot be read: stand still and alert."""

    exit_code = 7


class ModelMismatch(HedgefundError):
    """A bundle's digest, schema, signature or golden vector differs: keep the last good bundle."""

    exit_code = 4


class ModelOutdated(ModelMismatch):
    """A genuine bundle of other feature code than this program has: train and promote a model again."""


class BrokerUnavailable(HedgefundError):
    """The broker surely did not act: retrying is safe."""

    exit_code = 6


class OrderRejected(HedgefundError):
    """The broker said a definite no: final, never retried."""

    exit_code = 6


class OrderOutcomeUnknown(HedgefundError):
    """No answer after a send: look the order up by its client_order_id; never resend blindly."""

    exit_code = 6


class Halted(HedgefundError):
    """Trading is halted, or another executor holds the account: a person decides."""

    exit_code = 5


class JournalError(HedgefundError):
    """The journal cannot be read or written: halt."""

    exit_code = 1


class InvariantViolation(HedgefundError):
    """Our own books disagree with themselves: halt, alert, keep the evidence."""

    exit_code = 1
