"""From configuration and environment to how this machine reaches a vendor. What is missing is named before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import ConfigError
from hedgefund_dagster.sources.http.declaration import Access, VendorFacts

USER_AGENT = "hedgefund-lite"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def access_of(facts: VendorFacts, settings: VendorSettings, env: Mapping[str, str]) -> Access:
    """Addresses, user agent and secrets; raises ConfigError naming the key or variable that is missing or wrong."""
    bases = {role: _base(facts, role, settings, env) for role in facts.base_urls}
    for url in bases.values():
        _refuse_bad_base(facts, url)
    if facts.contact_needed and "@" not in settings.user_agent:
        message = f"sources.yaml: vendors.{facts.name}.user_agent: {facts.title} wants to know who asks: a name and a mail address"
        raise ConfigError(message, mend='write it there, such as "Your Name you@example.org"')
    missing = missing_keys(facts, env)
    if missing:
        message = f"{facts.title} needs a key: {', '.join(missing)} is not set"
        raise ConfigError(message, mend=f"get one ({facts.documentation}) and put {missing[0]}=... into .env")
    secrets = {rule.variable: env[rule.variable] for rule in facts.keys}
    return Access(base_urls=bases, user_agent=settings.user_agent or USER_AGENT, secrets=secrets)


def missing_keys(facts: VendorFacts, env: Mapping[str, str]) -> tuple[str, ...]:
    """Environment variables of keys that are not set."""
    return tuple(rule.variable for rule in facts.keys if not env.get(rule.variable))


def _base(facts: VendorFacts, role: str, settings: VendorSettings, env: Mapping[str, str]) -> str:
    """The configuration's address for all roles, else the role's environment variable, else the vendor's own."""
    return settings.base_url or env.get(facts.base_variables.get(role, ""), "") or facts.base_urls[role]


def _refuse_bad_base(facts: VendorFacts, url: str) -> None:
    """Only http(s), and a key only over TLS unless the server is this machine."""
    parts = urlsplit(url)
    where = f"sources.yaml: vendors.{facts.name}.base_url: {url!r}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{where} is no http address", mend="write https://host/path")
    if parts.scheme == "http" and facts.keys and parts.hostname not in _LOOPBACK:
        raise ConfigError(f"{where} would send a key unencrypted", mend="use https, or a server on this machine")
