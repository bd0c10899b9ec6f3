"""The loss functions: pure functions of tensors, without state or process group.

Letters, fixed for the whole package: B batch, D embedding, N images, K negatives, M candidates, C clusters.

name          shape           meaning
``q``         (B, D)          query: unit embedding of a view, with gradient (the papers' v)
``k``         (B, D)          key: the positive of each query, unit norm
``bank``      (N, D)          memory of every image, constant (V)
``index``     (B,) int64      each query's own row of the bank (i)
``negatives`` (K, D)          shared by the batch, or (B, K, D)

A *similarity* is a cosine; a *logit* is a similarity / temperature. Softmax arithmetic is at least float32, whatever
the network's precision. Losses are per row, (B,), unless stated otherwise; the caller averages them.
"""

from viewkin.losses.clustering import (
    aggregation_loss,
    balanced_assignment,
    class_weights,
    neighbourhood_loss,
)
from viewkin.losses.codes import balanced_codes, code_cross_entropy, swapped_cross_entropy
from viewkin.losses.contrast import info_nce, info_nce_of, nce_of_sum, nt_xent, regression
from viewkin.losses.infomax import (
    clipped_cross_entropy,
    infomax_match,
    infomax_scores,
    mixture_objective,
    responsibilities,
)
from viewkin.losses.instance import binary_nce, instance_log_probability, partition_estimate, two_view_instance_loss
from viewkin.losses.invaspread import blended_similarity, invariant_spread
from viewkin.losses.margin import angular_margin
from viewkin.losses.propagation import (
    choose_positives,
    mixed_instance_loss,
    nearest_instance_loss,
    propagation_loss,
)
from viewkin.losses.prototypes import concentration, prototype_nce
from viewkin.losses.relation import (
    interpolation,
    interpolation_of_sum,
    mixed_target,
    relation_cross_entropy,
    relation_divergence,
)
from viewkin.losses.statistics import (
    cross_correlation_loss,
    gaussian_distance,
    hinged_deviation,
    off_diagonal_covariance,
)
from viewkin.ops.bank_rows import bank_similarity
from viewkin.ops.nearest_sums import EDGE, Denominator, Nearest, Positives, nearest_sums
from viewkin.ops.pool_sum import pool_log_sum, pool_logits
from viewkin.ops.precision import BLOCK, at_least_float32, product_type, unit

__all__ = [
    "BLOCK",
    "EDGE",
    "Denominator",
    "Nearest",
    "Positives",
    "aggregation_loss",
    "angular_margin",
    "at_least_float32",
    "balanced_assignment",
    "balanced_codes",
    "bank_similarity",
    "binary_nce",
    "blended_similarity",
    "choose_positives",
    "class_weights",
    "clipped_cross_entropy",
    "code_cross_entropy",
    "concentration",
    "cross_correlation_loss",
    "gaussian_distance",
    "hinged_deviation",
    "info_nce",
    "info_nce_of",
    "infomax_match",
    "infomax_scores",
    "instance_log_probability",
    "interpolation",
    "interpolation_of_sum",
    "invariant_spread",
    "mixed_instance_loss",
    "mixed_target",
    "mixture_objective",
    "nce_of_sum",
    "nearest_instance_loss",
    "nearest_sums",
    "neighbourhood_loss",
    "nt_xent",
    "off_diagonal_covariance",
    "partition_estimate",
    "pool_log_sum",
    "pool_logits",
    "product_type",
    "propagation_loss",
    "prototype_nce",
    "regression",
    "relation_cross_entropy",
    "relation_divergence",
    "responsibilities",
    "swapped_cross_entropy",
    "two_view_instance_loss",
    "unit",
]
