"""The framework vendor adapters are written on. A vendor is one file ``hedgefund_dagster/sources/<vendor>.py`` and one line in VENDORS.

An adapter is a class with three members (protocol `Vendor`):

- ``facts``: a `VendorFacts` (addresses, `Dataset` s with their canonical table and mapping, `Quota` windows, `KeyRule` s, licence, biases).
- ``fetch(dataset, scope, client)``: asks with ``client.get(Ask(...), check)``. ``check`` gets the `RawPayload` and returns what it reads
  (`json_of` a msgspec struct, `csv_of`, `xml_of`); what it refuses is neither cached nor kept. `walk_pages` for paged answers.
- ``rows(dataset, payloads, recorded_at)``: canonical rows (`table_rows`), a function of the payloads alone.

The client does the rest: cache, quota, breaker, time-outs, body limit, redirects, retry, secrets. Errors that reach the caller are
DataUnavailable (the vendor), DataInvalid (the payload, naming address and field) and ConfigError (a key or contact is missing).
Import from the modules by name: nothing is re-exported, so that naming a vendor costs nothing.

==============  =====================================================================================
module          for adapters
==============  =====================================================================================
declaration     VendorFacts, Dataset, Quota, KeyRule, Scope, Access, Vendor
client          HttpClient.get / .status / .now, Ask (``shared``: one answer, several data sets), Fetched
content         json_of, csv_of, xml_of, number
paging          walk_pages
rows            table_rows, at, end_of
access          access_of, missing_keys
pulse           Pulse, real_pulse
==============  =====================================================================================

Inside: transport (one bounded round trip), quota, breaker, retry, cache (cache_layers, cache_valkey), shared_state, faults.
"""
