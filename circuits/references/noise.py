"""The value on a run whose differing tokens have Gaussian noise on their embeddings (causal tracing, Meng et al. 2022).

The noise has three times the standard deviation of the prompts' embeddings, at each token that differs from its
counterfactual's. It takes the model off its distribution; Zhang and Nanda 2023 (arXiv 2309.16042, section 3) advise against
it and for counterfactuals, so it is here to be compared with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from circuits.references import Seen

PAIRED = True
FACTOR = 3.0
"""Standard deviations of the embeddings, as in both papers."""


def corrupt(embeddings: Tensor, real: Tensor, differs: Tensor, seed: int) -> Tensor:
    """The embeddings [batch pos d_model] with noise where a token `differs` [batch pos]; `real` ones are no padding."""
    noise = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(seed))
    return embeddings + FACTOR * embeddings[real].std() * noise * differs[..., None]


def reference(seen: Seen) -> Tensor:
    """The value on the noised run [batch pos coordinates], which is what stands in the counterfactual's place."""
    return seen.counterfactual
