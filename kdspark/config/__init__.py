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
from kdspark.config.losses import (
    CDConfig,
    DEConfig,
    LossConfig,
    RCEConfig,
    RDConfig,
    RRDConfig,
    TopologyConfig,
    UnKDConfig,
)
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
from kdspark.config.regularisers import ConsistencyConfig
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
    "CDConfig",
    "CNNConfig",
    "ColumnsConfig",
    "Config",
    "ConsistencyConfig",
    "DEConfig",
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
    "LossConfig",
    "MFConfig",
    "NeuralConfig",
    "PopularityConfig",
    "PretrainedConfig",
    "RCEConfig",
    "RDConfig",
    "RRDConfig",
    "RecommenderConfig",
    "ScoringConfig",
    "SideTableConfig",
    "SoftLabelsConfig",
    "SourceConfig",
    "SparkConfig",
    "SplitConfig",
    "Strict",
    "StudentConfig",
    "TopologyConfig",
    "TrainableConfig",
    "TrainingConfig",
    "TransformerConfig",
    "TwoTowerConfig",
    "UnKDConfig",
    "load_config",
    "parse_config",
]
