"""The account's instruments: a symbol becomes one once the broker knows it, and what may be done with it today is journaled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.observed import AssetSighting, PositionSighting
from live_executor.clock import EPOCH
from live_executor.live.floor import Floor

_NO_SUCH_NAME = "that it has no such name"


class Instruments:
    """The account's instruments and the broker's word on each."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._assets: dict[str, AssetSighting] = {}
        self._followed: set[str] = set()
        self._said: dict[str, e.InstrumentStatusSeen] = {}

    async def ensure(self, symbols: Sequence[str]) -> list[str]:
        """Make names known to account and feed; returns those that the broker does not have. One that was ours before needs nothing."""
        unknown, fresh = list[str](), list[AssetSighting]()
        names, former = {instrument.symbol for instrument in self._floor.state.instruments}, self._floor.state.former_names
        new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in names or symbol not in self._assets]
        for symbol, asset in zip(new, await asyncio.gather(*map(self._floor.broker.asset, new)), strict=True):
            if symbol in former and (asset is None or asset.asset_id == former[symbol]):
                continue
            if asset is None:
                unknown.append(symbol)
            else:
                self._assets[symbol] = asset
                fresh.append(asset)
        self._journal(fresh)
        if names.intersection(unknown):
            await self.refresh()  # the broker no longer knows a symbol of ours: it was renamed or delisted
        names = {instrument.symbol for instrument in self._floor.state.instruments}
        await self.follow([symbol for symbol in symbols if symbol in names])
        return unknown

    async def held(self, positions: Sequence[PositionSighting]) -> dict[str, PositionSighting]:
        """Positions by instrument id; instruments that are new to the account are made known first.

        A position belongs to the instrument with the broker's asset id, where the account has one; else to the one with its symbol.
        """
        strangers = {position.symbol for position in positions} - {i.symbol for i in self._floor.state.instruments}
        if strangers:
            await self.ensure(sorted(strangers))
        ids = {instrument.symbol: instrument.instrument_id for instrument in self._floor.state.instruments}
        there = set(ids.values())
        return {
            position.asset_id if position.asset_id in there else ids.get(position.symbol, position.symbol): position
            for position in positions
        }

    async def follow(self, symbols: Sequence[str]) -> None:
        """Subscribe to the symbols that the feed does not send yet."""
        wanted = [symbol for symbol in symbols if symbol not in self._followed]
        if wanted:
            self._followed.update(wanted)
            await self._floor.feed.subscribe(wanted)

    async def refresh(self) -> None:
        """Read again what may be done with each instrument: borrow lists are of a day, and a symbol may have changed hands over night."""
        fresh = await asyncio.gather(*map(self._today, self._floor.state.instruments))
        self._assets |= {asset.symbol: asset for asset in fresh}
        self._journal(fresh)
        await self.follow([instrument.symbol for instrument in self._floor.state.instruments])

    async def _today(self, instrument: Instrument) -> AssetSighting:
        asset = await self._floor.broker.asset(instrument.symbol)
        if _is_another(asset, instrument):  # by its id it is found under its new name
            found = await self._floor.broker.asset(instrument.instrument_id)
            asset = found if found is not None and found.asset_id == instrument.instrument_id else asset
        return asset or _gone(instrument.symbol)

    def halt_changed(self, symbol: str) -> None:
        """A halt or its end."""
        asset = self._assets.get(symbol)
        if asset is not None:
            self._journal([asset])

    def _journal(self, assets: Sequence[AssetSighting]) -> None:
        ids = {instrument.symbol: instrument.instrument_id for instrument in self._floor.state.instruments}
        there, taken = set(ids.values()), set(ids)
        ids |= {asset.symbol: asset.asset_id or asset.symbol for asset in assets if asset.symbol not in ids}
        renamed = {a.asset_id: a.symbol for a in assets if a.asset_id in there and a.symbol not in taken}
        names = {ids[asset.symbol]: asset.symbol for asset in assets if ids[asset.symbol] not in there}
        added = tuple(Instrument(instrument_id=key, symbol=symbol) for key, symbol in names.items())
        now, inputs = self._floor.now(), list[e.Input]()
        if added:
            inputs.append(e.InstrumentsAdded(ts=now, instruments=added))
        inputs += [e.InstrumentRenamed(ts=now, instrument_id=key, symbol=symbol) for key, symbol in renamed.items()]
        for asset in assets:
            status = self._status(asset, ids[asset.symbol])
            if self._said.get(asset.symbol) != status:
                self._said[asset.symbol] = status
                inputs.append(replace(status, ts=now))
                if asset.symbol in self._floor.strange_names or asset.status == _NO_SUCH_NAME:
                    words = (
                        f"{asset.symbol} ({status.instrument_id}): {status.cause}. Renamed, merged or delisted? Nothing new is traded in it"
                    )
                    inputs.append(e.TroubleSeen(ts=now, severity="critical", message=words))
        if inputs:
            self._floor.take(inputs)

    def _status(self, asset: AssetSighting, instrument_id: str) -> e.InstrumentStatusSeen:
        halt = self._floor.view.halted(asset.symbol)
        another = bool(asset.asset_id) and instrument_id not in {asset.asset_id, asset.symbol}
        (self._floor.strange_names.add if another else self._floor.strange_names.discard)(asset.symbol)
        tradable = asset.tradable and asset.status in {"", "active"} and not another
        said = "its name is another instrument's now" if another else f"the broker says {asset.status or 'not tradable'}"
        cause = halt or ("" if tradable else said)
        return e.InstrumentStatusSeen(
            ts=EPOCH,
            instrument_id=instrument_id,
            tradable=tradable,
            halted=bool(halt),
            shortable=asset.shortable,
            easy_to_borrow=asset.easy_to_borrow,
            fractionable=asset.fractionable,
            cause=cause,
        )


def _is_another(asset: AssetSighting | None, instrument: Instrument) -> bool:
    """Whether the symbol of an instrument is unknown by now or belongs to another one; can only be told of instruments with an asset id."""
    own_id = instrument.instrument_id != instrument.symbol
    return own_id and (asset is None or bool(asset.asset_id and asset.asset_id != instrument.instrument_id))


def _gone(symbol: str) -> AssetSighting:
    """Stands for a symbol that the broker no longer knows (renamed, merged, delisted): no entry in it before a person has looked."""
    return AssetSighting(
        asset_id="", symbol=symbol, exchange="", tradable=False, shortable=False, easy_to_borrow=False, fractionable=False,
        status=_NO_SUCH_NAME,
    )  # fmt: skip
