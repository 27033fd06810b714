"""The decision kernel: inputs in, target weights, orders and verdicts out. Pure, and the same in backtest, replay and live.

float64 up to the target weights (scores quantized to 1e-9, weights to 1e-6 half-even); from there Decimal. The risk
rules read float views of the Decimals. Orders from people, target files and the flatten command enter at the intents
and meet the same rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from math import fsum, isfinite

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.border import Marks, floats_of, packed, to_prices
from hedgefund_core.bundle import Bundle
from hedgefund_core.identifiers import decision_id
from hedgefund_core.live_inputs import LiveInputs, context_of, facts_of, members
from hedgefund_core.ordering import Market, Terms, Trades, as_trades, batch_of, orders_of, rebalanced
from hedgefund_core.quant.portfolio import OPTIMIZERS
from hedgefund_core.quant.portfolio.scaling import Scaling, known_betas, scale_weights
from hedgefund_core.quant.return_history import ReturnHistory
from hedgefund_core.quant.signals import quantize_scores, signal_coverage, signal_statistics
from hedgefund_core.risk import LIVE_RULES, RULES
from hedgefund_core.risk.engine import judge
from hedgefund_core.risk.limits import Mandate, drawdown_multiplier, promised
from hedgefund_core.risk.reducing import reducing_trades
from hedgefund_core.risk.rule import OrderBatch, RiskContext
from hedgefund_core.trading.events import DecisionMade, Judgements, Scaler
from hedgefund_core.trading.instrument import ZERO, Instrument, Instruments, to_lots
from hedgefund_core.trading.order import Leg, Order, Purpose, Side, TimeInForce
from hedgefund_core.trading.rebalance import Intent, NoTradeBand, intents_toward, rebalance
from hedgefund_core.trading.state import Ladder
from hedgefund_core.verdicts import judgements_of, parted, taken_by_broker

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionInputs:
    """All that a decision may know. ``n`` instruments, ``k`` features.

    Attributes
    ----------
    features : float64 (n, k) in the bundle's column order; mask : bool (n,), whether an instrument may be scored.
    history : daily returns of the instruments and of the market.
    prices : last good close of each instrument, None = never traded yet; bar_ages : sessions since that close.
    adv : float64 (n,), average daily volume of 20 sessions in shares, NaN where the source has no volume.
    positions : signed shares held; working : orders that may still trade; sent : client order ids that have gone out.
    target_weights : weights given from outside (NaN = leave alone) instead of the model's.
    live : what only an account on the wall clock knows; None in a replay.
    """

    account: str
    book: str
    session: str
    for_session: str
    decided_at: datetime
    time_in_force: TimeInForce
    purpose: Purpose
    instruments: tuple[Instrument, ...]
    features: Floats
    mask: NDArray[np.bool_]
    history: ReturnHistory
    prices: tuple[Decimal | None, ...]
    bar_ages: Floats
    adv: Floats
    equity: Decimal
    cash: Decimal
    positions: Mapping[str, Decimal]
    working: tuple[Order, ...]
    sent: frozenset[str]
    frozen_instruments: frozenset[str]
    ladder: Ladder
    drawdown: float
    sessions_per_year: float
    waived: frozenset[str] = frozenset()
    target_weights: Floats | None = None
    live: LiveInputs | None = None
    _views: dict[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Floats of Decimals, once somebody has asked; an edited copy makes its own."""

    @property
    def marks(self) -> Floats:
        """Float views of the prices: float64 (n,), NaN where there is none."""
        if "marks" not in self._views:
            self._views["marks"] = Marks.of(self.prices).views
        return self._views["marks"]

    @property
    def held(self) -> Floats:
        """Float views of the signed shares held: float64 (n,)."""
        if "held" not in self._views:
            shares = [self.positions.get(key, ZERO) for key in Instruments.of(self.instruments).ids] if self.positions else []
            self._views["held"] = floats_of(shares) if shares else np.zeros(len(self.instruments))
        return self._views["held"]

    def with_held(self, shares: Floats) -> DecisionInputs:
        """Itself, with the floats that somebody has of its positions."""
        self._views["held"] = shares
        return self

    def sigmas(self, mandate: Mandate) -> Floats:
        """Daily standard deviations over the mandate's window."""
        return self.history.sigmas(mandate.volatility_window)

    def betas(self, mandate: Mandate) -> Floats:
        """Betas over the mandate's window."""
        return self.history.betas(mandate.beta_window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided. ``allowed`` and ``denied`` hold every order; ``record`` is the journal's frame of it."""

    decision_id: str
    scores: Floats
    scalings: tuple[Scaling, ...]
    allowed: tuple[Order, ...]
    denied: tuple[Order, ...]
    record: DecisionMade

    @property
    def target_weights(self) -> dict[str, Decimal]:
        """By instrument; one that is left alone has none."""
        return self.record.weights

    @property
    def digest(self) -> str:
        """Hash over inputs and result."""
        return self.record.digest


def decide(inputs: DecisionInputs, bundle: Bundle | None, limits: Mandate) -> Decision:
    """Score, weigh, scale, size and judge.

    Parameters
    ----------
    inputs : everything known at ``decided_at``.
    bundle : the model; None where target weights are given or everything is to be closed.
    limits : the mandate with its limits.

    Returns
    -------
    Decision with every order either allowed or denied; nothing is resized to fit a rule.
    """
    scores = _scores(inputs, bundle)
    raw = _raw_weights(inputs, scores, limits)
    weights, scalings = scaled(inputs, raw, limits)
    market = _market(inputs, limits)
    trades = _trades(inputs, market, weights, limits)
    orders, batch = orders_of(trades, market, _terms(inputs), limits.limits, inputs.sent)
    return judged_decision(inputs, orders, limits, Basis(bundle=bundle, scores=scores, weights=weights, scalings=scalings), batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the orders of a decision were made from."""

    bundle: Bundle | None
    scores: Floats
    weights: Floats
    """Targets; NaN = left alone."""
    scalings: tuple[Scaling, ...]
    note: str = ""


def judged_decision(
    inputs: DecisionInputs, orders: Sequence[Order], limits: Mandate, basis: Basis, batch: OrderBatch | None = None
) -> Decision:
    """Every order judged, and the record of it: the last step of every decision, whoever wanted it. ``batch`` are the orders in columns."""
    rules = RULES if inputs.live is None else (*RULES, *LIVE_RULES)
    if batch is None:
        batch = batch_of(orders, inputs.instruments, inputs.sent)
    context = _context(inputs, batch, basis.scores, basis.bundle, limits)
    judged = judge(batch, context, limits, inputs.waived, rules)
    judgements = judgements_of(orders, judged)
    if inputs.live is not None:
        judgements = taken_by_broker(orders, judgements)
    allowed, denied = parted(orders, judgements)
    record = _record(inputs, basis, judgements)
    return Decision(
        decision_id=record.decision_id,
        scores=basis.scores,
        scalings=basis.scalings,
        allowed=allowed,
        denied=denied,
        record=record,
    )


# ---- scores and weights (float64) ---------------------------------------------------------------------------------


def _scores(inputs: DecisionInputs, bundle: Bundle | None) -> Floats:
    if bundle is None or inputs.purpose is not Purpose.MODEL:
        return np.full(len(inputs.instruments), np.nan)
    scores: Floats = quantize_scores(bundle.model.score(inputs.features, inputs.mask))
    contract = bundle.manifest.signal_contract
    sane: Floats = np.where(np.abs(scores) <= contract.max_abs_score, scores, np.nan)
    # scores outside what the model promised are no ground for a trade: nothing is scored, so everything is left as it is
    return sane if signal_coverage(sane, inputs.mask) >= contract.min_coverage else np.full_like(scores, np.nan)


def _raw_weights(inputs: DecisionInputs, scores: Floats, mandate: Mandate) -> Floats:
    """Weights at full gross: from outside, zero to flatten, else by the mandate's construction from scores."""
    if inputs.purpose is Purpose.FLATTEN:
        return np.zeros(len(inputs.instruments))
    if inputs.target_weights is not None:
        return inputs.target_weights
    optimizer = OPTIMIZERS["rank_long_only" if mandate.long_only else "rank_neutral"]
    volatilities = inputs.sigmas(mandate) * np.sqrt(inputs.sessions_per_year)
    weights: Floats = optimizer(scores, inputs.betas(mandate), volatilities, mandate.limits.max_gross)
    return weights


def scaled(inputs: DecisionInputs, raw: Floats, mandate: Mandate) -> tuple[Floats, tuple[Scaling, ...]]:
    """Weights under the mandate's scalers and caps; not those of people, nor of a book that is wound down: the caps judge the orders."""
    if mandate.discretionary or inputs.purpose is Purpose.DECAY:
        return np.rint(raw * 1e6) / 1e6 + 0.0, ()
    return scale_weights(
        raw,
        inputs.history.returns[-mandate.volatility_window :],
        inputs.betas(mandate),
        target_volatility=promised(mandate.target_volatility, "volatility", mandate),
        decay=mandate.volatility_decay,
        sessions_per_year=inputs.sessions_per_year,
        max_beta=promised(mandate.max_beta, "beta", mandate),
        drawdown_scale=drawdown_multiplier(inputs.drawdown, mandate.limits),
        max_gross=mandate.limits.max_gross,
        max_net=mandate.limits.max_net,
        max_position=mandate.limits.max_position_weight,
    )


# ---- the border: weights become Decimals, intents become orders -------------------------------------------------------


def as_decimals(instruments: Sequence[Instrument], weights: Floats) -> dict[str, Decimal]:
    """Weights across the border to Decimal; an absent weight has no entry."""
    places = np.flatnonzero(np.isfinite(weights))
    return {instruments[place].instrument_id: weight for place, weight in zip(places.tolist(), to_prices(weights[places]), strict=True)}


def prices_by_id(inputs: DecisionInputs) -> dict[str, Decimal]:
    """Last good price of each instrument that has one."""
    pairs = zip(inputs.instruments, inputs.prices, strict=True)
    return {instrument.instrument_id: price for instrument, price in pairs if price is not None}


def _market(inputs: DecisionInputs, mandate: Mandate) -> Market:
    return Market(
        instruments=Instruments.of(inputs.instruments),
        prices=inputs.prices,
        price=inputs.marks,
        sigma=inputs.sigmas(mandate),
        age=inputs.bar_ages,
    )


def _terms(inputs: DecisionInputs) -> Terms:
    return Terms(
        account=inputs.account,
        book=inputs.book,
        session=inputs.for_session,
        decision_id=decision_name(inputs),
        time_in_force=inputs.time_in_force,
        purpose=inputs.purpose,
        at=inputs.decided_at,
        on_tick=inputs.live is not None,
    )


def _trades(inputs: DecisionInputs, market: Market, weights: Floats, mandate: Mandate) -> Trades:
    if inputs.purpose not in {Purpose.FLATTEN, Purpose.DECAY} and inputs.ladder.admits_entries:
        return rebalanced(market, weights, inputs.positions, inputs.held, inputs.equity, _band(mandate))
    return as_trades(_intents(inputs, as_decimals(inputs.instruments, weights), mandate), inputs.instruments)


def _band(mandate: Mandate) -> NoTradeBand:
    rules = mandate.rebalancing
    return NoTradeBand(minimum_change=rules.minimum_change, relative_change=rules.relative_change)


def _intents(inputs: DecisionInputs, targets: Mapping[str, Decimal], mandate: Mandate) -> list[Intent]:
    """What an account may trade that may not enter: everything away, or closing legs only."""
    prices = prices_by_id(inputs)
    if inputs.purpose is Purpose.FLATTEN:
        found = [
            intent
            for instrument in inputs.instruments
            if instrument.instrument_id in prices
            for intent in intents_toward(
                instrument, inputs.positions.get(instrument.instrument_id, ZERO), ZERO, prices[instrument.instrument_id]
            )
        ]
        return sorted(found, key=lambda intent: intent.instrument.instrument_id)
    intents = rebalance(inputs.instruments, targets, inputs.positions, prices, inputs.equity, _band(mandate))
    if inputs.purpose is Purpose.DECAY:
        intents = [intent for intent in intents if intent.leg is Leg.CLOSE]
    return intents if inputs.ladder.admits_entries else _reducing(inputs, intents, mandate)


def _reducing(inputs: DecisionInputs, intents: Sequence[Intent], mandate: Mandate) -> list[Intent]:
    """Closing legs as an account may trade them that may only reduce; opening ones stay, to be denied on record."""
    wanted = {intent.instrument.instrument_id: intent.quantity for intent in intents if intent.leg is Leg.CLOSE}
    held, price = inputs.held, inputs.marks
    instrument_betas = known_betas(inputs.betas(mandate))
    closing = np.array([float(wanted.get(instrument.instrument_id, ZERO)) for instrument in inputs.instruments])
    shares = reducing_trades(held, price, instrument_betas, closing)
    closes: list[Intent] = []
    for instrument, quantity, amount, at in zip(inputs.instruments, held.tolist(), shares.tolist(), inputs.prices, strict=True):
        size = to_lots(Decimal(amount), instrument.lot)
        if size > ZERO and at is not None:
            side = Side.SELL if quantity > 0.0 else Side.BUY
            closes.append(Intent(instrument=instrument, side=side, quantity=size, leg=Leg.CLOSE, price=at))
    closes.sort(key=lambda intent: intent.instrument.instrument_id)
    return [*closes, *(intent for intent in intents if intent.leg is Leg.OPEN)]


def decision_name(inputs: DecisionInputs) -> str:
    """Id of the decision: one a session and kind in a replay; numbered on the wall clock, where a session has many."""
    if inputs.live is None:
        return decision_id(account=inputs.account, book=inputs.book, session=inputs.session, kind=inputs.purpose.value)
    kind, account = f"{inputs.purpose.value}-{inputs.live.number}", f"{inputs.account}@{inputs.live.opened}"
    return decision_id(account=account, book=inputs.book, session=inputs.session, kind=kind)


# ---- what the rules read beside the orders ----------------------------------------------------------------------------------


def _context(inputs: DecisionInputs, batch: OrderBatch, scores: Floats, bundle: Bundle | None, mandate: Mandate) -> RiskContext:
    scored = bundle is not None and inputs.purpose is Purpose.MODEL
    signal = signal_statistics(scores, inputs.mask) if scored else None
    equity = float(inputs.equity)
    turnover = fsum((batch.quantity * batch.price).tolist()) / equity if equity > 0 else np.nan
    buying, selling, orders = _working(inputs)
    return RiskContext(
        equity=equity,
        cash=float(inputs.cash),
        quantity=inputs.held,
        working_buy=buying,
        working_sell=selling,
        working_orders=orders,
        price=inputs.marks,
        bar_age=inputs.bar_ages,
        daily_sigma=inputs.sigmas(mandate),
        adv=inputs.adv,
        frozen=members(inputs.frozen_instruments, inputs.instruments),
        admits_entries=inputs.ladder.admits_entries,
        model_age_days=float(bundle.manifest.age_days(inputs.decided_at.date())) if scored and bundle else np.nan,
        model_expires_days=float(bundle.manifest.admitted_days) if scored and bundle else np.nan,
        signal_coverage=np.nan if signal is None else signal.coverage,
        signal_dispersion=np.nan if signal is None else signal.dispersion,
        signal_same_sign=np.nan if signal is None else signal.same_sign,
        batch_turnover=turnover,
        session_open=inputs.for_session > inputs.session or (inputs.live is not None and inputs.live.in_session),
        **context_of(inputs.live, inputs.instruments),
    )


def _working(inputs: DecisionInputs) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Shares bought and shares sold by working orders, and how many these are, of each instrument."""
    n = len(inputs.instruments)
    buying, selling, count = np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.int64)
    if not inputs.working:
        return buying, selling, count
    places = Instruments.of(inputs.instruments).places
    total: dict[tuple[Side, int], Decimal] = {}
    for order in inputs.working:
        place = places.get(order.instrument_id)
        if place is not None:
            count[place] += 1
            total[order.side, place] = total.get((order.side, place), ZERO) + order.remaining
    for (side, place), shares in total.items():
        (buying if side is Side.BUY else selling)[place] = float(shares)
    return buying, selling, count


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _record(inputs: DecisionInputs, basis: Basis, judgements: Judgements) -> DecisionMade:
    bundle = basis.bundle
    record = DecisionMade(
        ts=inputs.decided_at,
        decision_id=decision_name(inputs),
        session=inputs.session,
        for_session=inputs.for_session,
        model_digest="" if bundle is None else bundle.digest,
        instruments=Instruments.of(inputs.instruments).ids,
        scores=packed(basis.scores),
        target_weights=packed(basis.weights),
        scalers=tuple(Scaler(name=s.name, measured=_finite(s.measured), limit=s.limit, scale=s.scale) for s in basis.scalings),
        judgements=judgements,
        inputs_digest=inputs_digest(inputs),
        digest="",
        note=basis.note,
    )
    return msgspec.structs.replace(record, digest=_digest(record))


def _digest(record: DecisionMade) -> str:
    """Hash over inputs and result; what the rules measured on the way is covered by the frame's own hash."""
    result = (
        record.decision_id, record.session, record.for_session, record.model_digest, record.inputs_digest, record.scalers,
        record.judgements.orders, record.judgements.allowed, record.note,
    )  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(result) + record.scores + record.target_weights).hexdigest()


def inputs_digest(inputs: DecisionInputs) -> str:
    """sha256 over everything the decision knew, arrays by their bytes: one changed bar changes it."""
    digest = hashlib.sha256()
    history = inputs.history
    digest.update(f"returns={history.returns.shape}".encode() + history.digests.tobytes())
    for name in ("features", "mask", "market", "marks", "held", "bar_ages", "adv", "target_weights"):
        values = history.market if name == "market" else getattr(inputs, name)
        digest.update(f"{name}={'none' if values is None else values.shape}".encode())
        if values is not None:
            digest.update(np.ascontiguousarray(values).data)
        digest.update(b"\n")
    instruments = Instruments.of(inputs.instruments).encoded
    facts = (
        inputs.account, inputs.book, inputs.session, inputs.for_session, inputs.decided_at, inputs.time_in_force, inputs.purpose,
        instruments, inputs.equity, inputs.cash, inputs.working,
        sorted(inputs.sent), sorted(inputs.frozen_instruments), inputs.ladder, inputs.drawdown, sorted(inputs.waived),
        inputs.sessions_per_year,
    )  # fmt: skip
    digest.update(msgspec.json.encode(facts))
    if inputs.live is not None:
        digest.update(facts_of(inputs.live))
    return digest.hexdigest()
