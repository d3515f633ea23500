"""What does a configuration file say, and where is it wrong?

    loaded = load("config.yaml")
    for warning in loaded.warnings:
        print(warning)
    catalog = loaded.config.catalog()

Servers that embed swapcore make a `Config` of `ModelConfig`s without any file;
the same rules hold. This package alone knows YAML.
"""

from swapcore_http.config.access import ApiKeyConfig
from swapcore_http.config.config import Config
from swapcore_http.config.dumping import dumps
from swapcore_http.config.loading import Loaded, load, loads
from swapcore_http.config.names import Names, PeerModel, pinned
from swapcore_http.config.parts import (
    CapabilitiesConfig,
    FiltersConfig,
    PeerTimeoutsConfig,
    TimeoutsConfig,
)
from swapcore_http.config.problems import ConfigError, Problem, Severity
from swapcore_http.config.public_names import PeerConfig, ProfileConfig, SelectorConfig
from swapcore_http.config.recording import PerformanceConfig, StoreConfig
from swapcore_http.config.routing import CollationConfig, GroupConfig, MatrixConfig
from swapcore_http.config.schema import ModelConfig

__all__ = [
    "ApiKeyConfig",
    "CapabilitiesConfig",
    "CollationConfig",
    "Config",
    "ConfigError",
    "FiltersConfig",
    "GroupConfig",
    "Loaded",
    "MatrixConfig",
    "ModelConfig",
    "Names",
    "PeerConfig",
    "PeerModel",
    "PeerTimeoutsConfig",
    "PerformanceConfig",
    "Problem",
    "ProfileConfig",
    "SelectorConfig",
    "Severity",
    "StoreConfig",
    "TimeoutsConfig",
    "dumps",
    "load",
    "loads",
    "pinned",
]
