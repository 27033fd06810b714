"""Limits must cohere: a rule that denies the book's own orders is a wrong limit, not a safe one.

Reference books are rebalanced weekly on random walks through construction, scalers, no-trade band, legs and the full default
rules. The same on real prices, through the decision kernel, is ``test_limit_coherence``.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import numpy as np
import pytest

from hedgefund_core.quant.portfolio import OPTIMIZERS
from hedgefund_core.quant.portfolio.scaling import betas, daily_returns, market_returns, scale_weights
from hedgefund_core.quant.signals import signal_statistics
from hedgefund_core.risk.engine import DENY, judge
from hedgefund_core.trading.instrument import Instrument, to_price
from hedgefund_core.trading.order import Leg
from hedgefund_core.trading.rebalance import NoTradeBand, rebalance
from tests.builders import mandate, order_batch, risk_context

WARM_UP, WEEKS = 130, 60


def prices_of(seed, n, quiet):
    """Closes of `n` names with a common market; `quiet` = so calm that the gross cap binds, not the volatility target."""
    rng = np.random.default_rng(seed)
    sessions = WARM_UP + 5 * WEEKS
    own = (0.004 if quiet else 0.015) * rng.standard_normal((sessions, n))
    market = (0.003 if quiet else 0.01) * rng.standard_normal((sessions, 1))
    return 60.0 * np.cumprod(1.0 + 0.0003 + market * (0.6 + 0.8 * rng.random(n)) + own, axis=0)


def target_weights(book, optimizer, close, scores):
    returns = daily_returns(close)
    window = returns[-book.beta_window :]
    instrument_betas = betas(window, market_returns(window, None))
    raw = OPTIMIZERS[optimizer](scores, instrument_betas, window.std(axis=0), book.limits.max_gross)
    weights, _ = scale_weights(
        raw,
        returns[-book.volatility_window :],
        instrument_betas,
        target_volatility=book.target_volatility,
        decay=book.volatility_decay,
        sessions_per_year=252.0,
        max_beta=book.max_beta,
        drawdown_scale=1.0,
        max_gross=book.limits.max_gross,
        max_net=book.limits.max_net,
        max_position=book.limits.max_position_weight,
    )
    return weights


def judged_week(book, optimizer, close, held, equity, scores):
    """The week's intents, the judgement of them, and the positions if what is allowed fills."""
    n, price = close.shape[1], [to_price(value) for value in close[-1].tolist()]
    instruments = [Instrument(instrument_id=f"I{row:03}", symbol=f"I{row:03}") for row in range(n)]
    ids = [instrument.instrument_id for instrument in instruments]
    weights = target_weights(book, optimizer, close, scores)
    targets = {key: Decimal(repr(weight)) for key, weight in zip(ids, weights.tolist(), strict=True) if np.isfinite(weight)}
    band = NoTradeBand(minimum_change=book.rebalancing.minimum_change, relative_change=book.rebalancing.relative_change)
    positions = {key: Decimal(int(shares)) for key, shares in zip(ids, held, strict=True)}
    intents = rebalance(instruments, targets, positions, dict(zip(ids, price, strict=True)), Decimal(equity), band)
    sigma = daily_returns(close)[-book.volatility_window :].std(axis=0)
    orders = [order_of(intent, ids, sigma, book) for intent in intents]
    statistics = signal_statistics(scores, np.ones(n, dtype=np.bool_))
    context = risk_context(
        n,
        equity=equity,
        quantity=held,
        price=np.array([float(value) for value in price]),
        daily_sigma=sigma,
        adv=np.full(n, 5e7),
        signal_coverage=statistics.coverage,
        signal_dispersion=statistics.dispersion,
        signal_same_sign=statistics.same_sign,
        batch_turnover=sum(order["quantity"] * order["price"] for order in orders) / equity,
    )
    batch = order_batch(*orders) if orders else order_batch({}).take(np.arange(0))
    judged = judge(batch, context, book, frozenset())
    after = held.copy()
    np.add.at(after, batch.instrument[judged.allowed], (batch.sign * batch.quantity)[judged.allowed])
    return judged, after


def order_of(intent, ids, sigma, book):
    row, price, sign = ids.index(intent.instrument.instrument_id), float(intent.price), float(intent.side.sign)
    width = max(0.03 if price > 50 else 0.05 if price > 25 else 0.10, book.limits.collar_daily_sigmas * sigma[row])
    return {
        "instrument": row,
        "sign": sign,
        "quantity": float(intent.quantity),
        "price": price,
        "limit_price": float(to_price(price * (1.0 + sign * width))),
        "reduction": intent.leg is Leg.CLOSE,
    }


def traded(book, optimizer, n, seed, *, quiet):
    """Orders judged and denials by rule over a year of weeks, scores drifting as a momentum's do."""
    rng = np.random.default_rng(seed)
    close = prices_of(seed, n, quiet)
    held, cash, scores = np.zeros(n), 1e6, rng.standard_normal(n)
    count, denied = 0, Counter()
    for week in range(WEEKS):
        seen = close[: WARM_UP + 5 * week]
        scores = 0.9 * scores + 0.4 * rng.standard_normal(n)
        judged, after = judged_week(book, optimizer, seen, held, cash + float(held @ seen[-1]), scores)
        count += len(judged.allowed)
        for row in np.flatnonzero(~judged.allowed):
            denied[next(result.rule for result in judged.results if result.verdict[row] == DENY)] += 1
        cash -= float((after - held) @ close[WARM_UP + 5 * week])  # fills at the next close
        held = after
    return count, denied


BOOKS = [
    ("market_neutral", "rank_neutral", 20, False),
    ("market_neutral", "rank_neutral", 20, True),
    ("market_neutral", "rank_neutral", 5, False),
    ("market_neutral", "rank_neutral", 100, True),
    ("long_only", "rank_long_only", 20, False),
    ("long_only", "equal_weight", 20, False),
    ("long_only", "equal_weight", 20, True),
    ("long_only", "inverse_volatility", 100, True),
]


@pytest.mark.parametrize(("name", "optimizer", "n", "quiet"), BOOKS)
def test_a_books_own_orders_are_allowed(name, optimizer, n, quiet):
    count, denied = 0, Counter()
    for seed in range(2 if n > 50 else 4):
        found, refused = traded(mandate(name), optimizer, n, seed, quiet=quiet)
        count, denied = count + found, denied + refused
    assert count > 100
    assert sum(denied.values()) <= 0.005 * count, f"{sum(denied.values())} of {count} denied: {dict(denied)}"
