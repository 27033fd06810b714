"""Errors as people read them: what, why, the command that mends it, a correlation id; a traceback only with ``--debug``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from hedgefund_core.errors import HedgefundError

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130


class Root(TyperGroup):
    """The outermost place of a command: whatever happens inside becomes a message and an exit code."""

    _debug = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own click types are private
        """``--debug`` may stand anywhere: it is what one adds to a command that has just failed."""
        self._debug = "--debug" in args
        return super().parse_args(ctx, [argument for argument in args if argument != "--debug"])

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command; turn its errors into exit codes."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise  # typer's own ways out are RuntimeErrors
        except HedgefundError as error:
            code = error.exit_code
            explain(error.message, f"{type(error).__name__}: {(type(error).__doc__ or '').splitlines()[0]}", error.mend)
            self._trace()
        except KeyboardInterrupt:
            code = INTERRUPTED
            sys.stderr.write("interrupted: what was journaled is safe, and the next run continues where this one stopped\n")
        except BrokenPipeError:
            code = 0  # the reader of our output went away: `executor fills | head`
        except OSError as error:
            code = 1
            why = "the system refused it; what was journaled is safe"
            explain(str(error), why, "free disk space, make the folder writable, or set HEDGEFUND_DATA_DIR to another one; then again")
            self._trace()
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            code = 1
            explain(f"{type(error).__name__}: {error}", "an error nobody foresaw", "run it again with --debug and report what it shows")
            self._trace()
        raise typer.Exit(code)

    def _trace(self) -> None:
        if self._debug:
            import traceback

            traceback.print_exc()


def explain(what: str, why: str, mend: str) -> None:
    """Print an error to standard error."""
    sys.stderr.write(f"error: {' '.join(what.split())}\n  why:  {why}\n")  # vendors' words come on several lines
    if mend:
        sys.stderr.write(f"  mend: {mend}\n")
    sys.stderr.write(f"  id:   {correlation_id(sys.argv[1:], what)}\n")


def correlation_id(arguments: Sequence[str], what: str) -> str:
    """Names this failure in logs and reports: made of the time, the command and the message."""
    import hashlib

    from live_executor.clock import SystemClock

    text = "\x1f".join((SystemClock().now().isoformat(), *arguments, what))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
