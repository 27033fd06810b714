"""Where things are and what is configured: the batch shell's only reading of the environment and of YAML files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import dagster as dg
import yaml

from hedgefund_core import layout
from hedgefund_core.configuration import SourcesSettings, UniverseSettings, VendorSettings, resolve
from hedgefund_core.errors import ConfigError
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.resources.stores import open_lake
from hedgefund_dagster.sources import open_source, open_vendor
from hedgefund_dagster.sources.source import Source

if TYPE_CHECKING:
    from hedgefund_dagster.sources.http.client import HttpClient
    from hedgefund_dagster.sources.http.declaration import Vendor, VendorFacts
    from hedgefund_dagster.sources.http.pulse import Pulse

T = TypeVar("T")


def data_folder(env: Mapping[str, str]) -> Path:
    """``HEDGEFUND_DATA_DIR``, default ``data``."""
    return Path(env.get("HEDGEFUND_DATA_DIR") or "data").resolve()


def config_folder(env: Mapping[str, str]) -> Path:
    """``HEDGEFUND_CONFIG_DIR``, default ``config``."""
    return Path(env.get("HEDGEFUND_CONFIG_DIR") or "config").resolve()


def mlruns_folder(env: Mapping[str, str]) -> Path:
    """``HEDGEFUND_MLRUNS_DIR``, default ``mlruns``."""
    return Path(env.get("HEDGEFUND_MLRUNS_DIR") or "mlruns").resolve()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration folder and the environment; files are read when they are asked for."""

    folder: Path
    env: Mapping[str, str]

    def load(self, stem: str, target: type[T]) -> T:
        """``<folder>/<stem>.yaml`` with its environment overrides, converted; raises ConfigError naming file and key."""
        path = self.folder / f"{stem}.yaml"
        value, _ = resolve(f"{self.folder.name}/{path.name}", read_yaml(path), self.env, target)
        return value

    @property
    def universe(self) -> UniverseSettings:
        """``universe.yaml``."""
        return self.load("universe", UniverseSettings)

    @property
    def sources(self) -> SourcesSettings:
        """``sources.yaml``."""
        return self.load("sources", SourcesSettings)

    def source(self, name: str) -> Source:
        """The source of that name, configured."""
        return open_source(name, self.sources)

    def vendor(self, name: str) -> Vendor:
        """The vendor of that name, configured; asks nothing."""
        return open_vendor(name, self.sources)

    def vendor_settings(self, name: str) -> VendorSettings:
        """What the configuration says about a vendor."""
        return self.sources.vendors.get(name) or VendorSettings()

    def vendor_client(self, facts: VendorFacts, pulse: Pulse) -> HttpClient:
        """The client of a vendor; raises ConfigError naming the key or contact that is missing."""
        from hedgefund_dagster.sources.http.access import access_of
        from hedgefund_dagster.sources.http.cache import open_cache
        from hedgefund_dagster.sources.http.client import HttpClient

        data = data_folder(self.env)
        access, folder = access_of(facts, self.vendor_settings(facts.name), self.env), data / layout.vendor_folder(facts.name)
        return HttpClient(facts, access, folder, pulse, cache=open_cache(self.sources.cache, data, folder, pulse))

    def research_start(self, source: str) -> str:
        """First session research may use: configured, else the source's own, else empty (the first there is)."""
        return self.sources.research_start.get(source) or self.source(source).facts.research_start


def opened_lake(root: str = "", folder: str = "") -> Lake:
    """The lake with its stores as configured; an empty root or folder means the environment's."""
    env = dict(os.environ)
    settings = Settings(folder=Path(folder) if folder else config_folder(env), env=env)
    return open_lake(root or str(data_folder(env)), settings.sources.store, env)


def read_yaml(path: Path) -> dict[str, object]:
    """A YAML mapping; raises ConfigError if the file is absent or not one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", mend="restore it, or set HEDGEFUND_CONFIG_DIR") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}", mend=f"correct {path.name}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values", mend=f"correct {path.name}")
    return content


class SettingsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Settings as a Dagster resource; an empty folder means the environment's."""

    folder: str = ""

    def open(self) -> Settings:
        """Read when asked, never at import."""
        return Settings(folder=Path(self.folder) if self.folder else config_folder(os.environ), env=dict(os.environ))


def shared_resources(*, data_dir: str = "", config_dir: str = "", fixed_clock: str = "") -> dict[str, object]:
    """Resources every slice may ask for; empty means the environment decides when a run starts."""
    return {
        "lake": LakeResource(root=data_dir, config=config_dir),
        "clock": ClockResource(fixed=fixed_clock),
        "settings": SettingsResource(folder=config_dir),
    }
