"""Typed, strict configuration: one pydantic model per concern, YAML files and dotted overrides.

An unknown key, a wrong type or an impossible combination raises `ConfigError` before any work starts.
"""

from kdspark.config.base import Strict
from kdspark.config.data import (
    ColumnsConfig,
    DataConfig,
    ExamplesConfig,
    FeaturesConfig,
    FiltersConfig,
    SideTableConfig,
    SourceConfig,
    SplitConfig,
)
from kdspark.config.distill import DistillConfig
from kdspark.config.load import load_config, parse_config
from kdspark.config.models import (
    ALSConfig,
    BagConfig,
    CNNConfig,
    EASEConfig,
    EnsembleConfig,
    GRUConfig,
    LSTMConfig,
    MFConfig,
    NeuralConfig,
    PopularityConfig,
    PretrainedConfig,
    RecommenderConfig,
    StudentConfig,
    TrainableConfig,
    TrainingConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from kdspark.config.run import (
    Config,
    EvaluationConfig,
    GateConfig,
    ScoringConfig,
    SoftLabelsConfig,
    SparkConfig,
)

__all__ = [
    "ALSConfig",
    "BagConfig",
    "CNNConfig",
    "ColumnsConfig",
    "Config",
    "DataConfig",
    "DistillConfig",
    "EASEConfig",
    "EnsembleConfig",
    "EvaluationConfig",
    "ExamplesConfig",
    "FeaturesConfig",
    "FiltersConfig",
    "GRUConfig",
    "GateConfig",
    "LSTMConfig",
    "MFConfig",
    "NeuralConfig",
    "PopularityConfig",
    "PretrainedConfig",
    "RecommenderConfig",
    "ScoringConfig",
    "SideTableConfig",
    "SoftLabelsConfig",
    "SourceConfig",
    "SparkConfig",
    "SplitConfig",
    "Strict",
    "StudentConfig",
    "TrainableConfig",
    "TrainingConfig",
    "TransformerConfig",
    "TwoTowerConfig",
    "load_config",
    "parse_config",
]
