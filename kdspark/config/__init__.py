"""Typed, strict configuration: one pydantic model per concern, YAML files and dotted overrides.

An unknown key, a wrong type or an impossible combination raises `ConfigError` before any work starts.
"""

from kdspark.config.assistant import AssistantConfig
from kdspark.config.base import Strict
from kdspark.config.config import Config
from kdspark.config.curriculum import CurriculumConfig
from kdspark.config.data import (
    ColumnsConfig,
    DataConfig,
    ExamplesConfig,
    FeaturesConfig,
    FiltersConfig,
    SideTableConfig,
    SplitConfig,
)
from kdspark.config.distill import DistillConfig
from kdspark.config.item_item import EASEConfig, GFCFConfig, ItemItemConfig
from kdspark.config.lightgcn import GraphTrainingConfig, LightGCNConfig
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
    EnsembleConfig,
    PopularityConfig,
    PretrainedConfig,
    RecommenderConfig,
    Storage,
    TransferConfig,
)
from kdspark.config.neural import (
    BagConfig,
    BagTrainingConfig,
    CNNConfig,
    GRUConfig,
    LSTMConfig,
    MFConfig,
    MFTrainingConfig,
    NeuralConfig,
    StudentConfig,
    TrainableConfig,
    TransformerConfig,
    TwoTowerConfig,
    apart,
)
from kdspark.config.nights import WarmStartConfig
from kdspark.config.opinions import AgreementConfig, MixtureConfig, OpinionConfig
from kdspark.config.privacy import IdListConfig, PrivacyConfig, PseudonymsConfig
from kdspark.config.regularisers import ConsistencyConfig
from kdspark.config.rules import (
    AvailabilityConfig,
    BackfillConfig,
    BoostConfig,
    CapConfig,
    DiversityConfig,
    ListConfig,
    RulesConfig,
    SegmentsConfig,
)
from kdspark.config.run import (
    EvaluationConfig,
    GateConfig,
    ScoringConfig,
    SoftLabelsConfig,
    SparkConfig,
)
from kdspark.config.schedules import (
    AgreementSchedule,
    AgreementTemperature,
    CosineSchedule,
    FeedbackSchedule,
    LambdaSchedule,
    TemperatureSchedule,
    TimeSchedule,
    WarmupSchedule,
)
from kdspark.config.source import SourceConfig
from kdspark.config.training import TrainingConfig

__all__ = [
    "ALSConfig",
    "AgreementConfig",
    "AgreementSchedule",
    "AgreementTemperature",
    "AssistantConfig",
    "AvailabilityConfig",
    "BackfillConfig",
    "BagConfig",
    "BagTrainingConfig",
    "BoostConfig",
    "CDConfig",
    "CNNConfig",
    "CapConfig",
    "ColumnsConfig",
    "Config",
    "ConsistencyConfig",
    "CosineSchedule",
    "CurriculumConfig",
    "DEConfig",
    "DataConfig",
    "DistillConfig",
    "DiversityConfig",
    "EASEConfig",
    "EnsembleConfig",
    "EvaluationConfig",
    "ExamplesConfig",
    "FeaturesConfig",
    "FeedbackSchedule",
    "FiltersConfig",
    "GFCFConfig",
    "GRUConfig",
    "GateConfig",
    "GraphTrainingConfig",
    "IdListConfig",
    "ItemItemConfig",
    "LSTMConfig",
    "LambdaSchedule",
    "LightGCNConfig",
    "ListConfig",
    "LossConfig",
    "MFConfig",
    "MFTrainingConfig",
    "MixtureConfig",
    "NeuralConfig",
    "OpinionConfig",
    "PopularityConfig",
    "PretrainedConfig",
    "PrivacyConfig",
    "PseudonymsConfig",
    "RCEConfig",
    "RDConfig",
    "RRDConfig",
    "RecommenderConfig",
    "RulesConfig",
    "ScoringConfig",
    "SegmentsConfig",
    "SideTableConfig",
    "SoftLabelsConfig",
    "SourceConfig",
    "SparkConfig",
    "SplitConfig",
    "Storage",
    "Strict",
    "StudentConfig",
    "TemperatureSchedule",
    "TimeSchedule",
    "TopologyConfig",
    "TrainableConfig",
    "TrainingConfig",
    "TransferConfig",
    "TransformerConfig",
    "TwoTowerConfig",
    "UnKDConfig",
    "WarmStartConfig",
    "WarmupSchedule",
    "apart",
    "load_config",
    "parse_config",
]
