"""Item encoder: [id embedding] + [feature tower], with the item's bias as the last dimension.

Legend: N items, D = dim + 1.
"""

import torch
from torch import Tensor, nn

from kdspark.errors import ConfigError
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.features import FeatureTower


class ItemEncoder(nn.Module):
    """Vectors of the whole catalogue.

    Args:
        n_items: rows of the id table; later items of the catalogue get their features alone, or zero.
        dim: dimensions without the bias.
        items: the catalogue; its event counts start the bias.
        sizes: feature widths in training.
        ids, features: which parts to use.
        hidden: hidden width of the tower's MLP; None for none.

    Raises:
        ConfigError: neither ids nor features.
    """

    def __init__(
        self,
        n_items: int,
        dim: int,
        items: ItemTable,
        sizes: FeatureSizes,
        ids: bool,
        features: bool,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        if not ids and not features:
            raise ConfigError("A model has neither `item_ids` nor `item_features`.", "Switch one of them on.")
        self.ids = nn.Embedding(n_items, dim + 1) if ids else None
        self.tower = FeatureTower(sizes, dim + 1, hidden) if features else None
        if self.ids is not None:
            nn.init.normal_(self.ids.weight, std=dim**-0.5 / 4)
            # Start from popularity: the bias of a softmax over items that knows nothing else.
            self.ids.weight.data[:, -1] = _log_share(items.n_events[:n_items])

    def forward(self, items: ItemTable) -> Tensor:
        """[N, D]."""
        rows = len(items)
        out_ND: Tensor | None = None
        if self.ids is not None:
            out_ND = self.ids.weight
            if rows > len(out_ND):
                out_ND = torch.cat([out_ND, out_ND.new_zeros(rows - len(out_ND), out_ND.shape[1])])
        if self.tower is not None:
            features_ND = self.tower(items.codes, items.numbers, items.vector)
            out_ND = features_ND if out_ND is None else out_ND + features_ND
        assert out_ND is not None
        return out_ND


def _log_share(n_events: Tensor) -> Tensor:
    logs = torch.log(n_events.to(torch.float32) + 1.0)
    return logs - logs.mean() if len(logs) else logs
