"""What each place of a layer says for each class of a torch model: activation times gradient, as an attribution.

Source: Carter et al., Activation Atlases, 2019; Olah et al., The Building Blocks of Interpretability, 2018 (a linear approximation).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from annotriage.model.layers import token_of
from annotriage.model.outputs import only_token
from annotriage.model.torch_model import TorchModel
from annotriage.model.types import Array


def evidence(model: TorchModel, batch: Array, place: int) -> Array:
    """The evidence for each class at each place of a layer, (N, m, ...) float32, (N, m) of a layer without places.

    batch: (N, ...) inputs. place: of the layer in `model.layers`. Where a model is linear from the layer on, its sum over the places and
    the bias are the logit. Raises ModelError.
    """
    kept: list[Tensor] = []

    def variable(tensor: Tensor) -> Tensor:
        kept.append(tensor.detach().clone().requires_grad_())
        return kept[-1] * 1  # a step that works in place may follow, and none may on a variable

    logits, _ = model.traced(torch.from_numpy(np.ascontiguousarray(batch)), place, variable)
    entered = kept[-1]  # of a module that runs twice, the second time
    found = []
    for kind in range(logits.shape[1]):
        (gradient,) = torch.autograd.grad(logits[:, kind].sum(), entered, retain_graph=True, allow_unused=True)
        found.append(torch.zeros_like(entered) if gradient is None else gradient * entered.detach())
    products = torch.stack(found)  # (m, N, ...)
    token, last = token_of(model.layers[place]), model.channels_last[place]
    parts = [only_token(part, token) for part in products]
    summed = [part.sum(-1 if last or part.ndim == 2 else 1) for part in parts]
    return torch.stack(summed, 1).float().cpu().numpy()
