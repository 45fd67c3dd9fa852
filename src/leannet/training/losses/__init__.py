"""What training minimises."""

from leannet.training.losses.distillation import distillation
from leannet.training.losses.exits import cross_entropies, feature_distance, scan, self_distillation
from leannet.training.losses.training_loss import TrainingLoss, class_weights

__all__ = [
    "TrainingLoss",
    "class_weights",
    "cross_entropies",
    "distillation",
    "feature_distance",
    "scan",
    "self_distillation",
]
