"""Walk-forward folds, purged and embargoed (López de Prado 2018, chapter 7).

Fold boundaries stand on a grid of sessions counted from an anchor, so that appending data adds folds and moves none: the
models of old folds, and the out-of-sample record they made, stay as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import ConfigError, DataInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One fold: positions of sessions, half-open.

    Attributes
    ----------
    number : place on the grid; the same number is the same fold whatever was appended.
    train_start, train_stop : decision sessions to learn from; every label of them has ended before the embargo.
    test_start, test_stop : sessions predicted; the newest fold may be incomplete.
    complete : whether the test has its full length.
    """

    number: int
    train_start: int
    train_stop: int
    test_start: int
    test_stop: int
    complete: bool

    @property
    def train(self) -> slice:
        """Rows to learn from."""
        return slice(self.train_start, self.train_stop)

    @property
    def test(self) -> slice:
        """Rows to predict."""
        return slice(self.test_start, self.test_stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkForward:
    """How to cut sessions into folds.

    Attributes
    ----------
    test_sessions : length of a test.
    min_train_sessions : sessions before the first test.
    embargo_sessions : sessions between the end of the last training label and the test, against serial correlation.
    window_sessions : length of a rolling training window; None = expanding.
    max_folds : the newest are kept.
    anchor : the grid begins at the first session on or after this date; None = the first session of the data.
    """

    test_sessions: int = 252
    min_train_sessions: int = 756
    embargo_sessions: int = 5
    window_sessions: int | None = None
    max_folds: int = 25
    anchor: np.datetime64 | None = None

    def __post_init__(self) -> None:
        """Refuse lengths that make no folds."""
        if min(self.test_sessions, self.min_train_sessions, self.max_folds) < 1 or self.embargo_sessions < 0:
            message = "test_sessions, min_train_sessions and max_folds must be at least 1, embargo_sessions at least 0"
            raise ConfigError(message, mend="correct the walk-forward settings in models.yaml")
        if self.window_sessions is not None and self.window_sessions < 1:
            message = "window_sessions must be at least 1, or absent for an expanding window"
            raise ConfigError(message, mend="correct the walk-forward settings in models.yaml")


def walk_forward(sessions: NDArray[np.datetime64], label_end: NDArray[np.int64], plan: WalkForward) -> list[Fold]:
    """Folds over ``sessions``, oldest first.

    Parameters
    ----------
    sessions : datetime64[D] (n,), strictly increasing.
    label_end : int64 (n,), position of the last session each row's label reads (Labels.end), not decreasing.
    plan : lengths and anchor.

    Returns
    -------
    At most ``plan.max_folds`` folds. For every training row t: label_end[t] + embargo_sessions < test_start. A fold whose
    training rows would be empty is left out.

    Raises
    ------
    DataInvalid
        If the arrays do not fit, or ``label_end`` decreases.
    """
    if len(sessions) != len(label_end) or bool(np.any(np.diff(label_end) < 0)):
        message = "label_end must have one position a session and not decrease"
        raise DataInvalid(message)
    n_sessions = len(sessions)
    origin = 0 if plan.anchor is None else int(np.searchsorted(sessions, plan.anchor))
    folds = []
    starts = range(origin + plan.min_train_sessions, n_sessions, plan.test_sessions)
    for number, test_start in enumerate(starts):
        train_stop = int(np.searchsorted(label_end, test_start - plan.embargo_sessions, side="left"))
        train_start = origin if plan.window_sessions is None else max(origin, train_stop - plan.window_sessions)
        test_stop = test_start + plan.test_sessions
        if train_stop > train_start:
            folds.append(
                Fold(
                    number=number,
                    train_start=train_start,
                    train_stop=train_stop,
                    test_start=test_start,
                    test_stop=min(test_stop, n_sessions),
                    complete=test_stop <= n_sessions,
                )
            )
    return folds[-plan.max_folds :]
