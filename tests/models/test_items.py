"""Item vectors: ids plus features, a popularity bias, and a catalogue that grows."""

import pytest
import torch

from kdspark.errors import ConfigError
from kdspark.models.items import ItemEncoder
from tests.models import zoo


def encoder(ids, features, hidden=None):
    items = zoo.items()
    return ItemEncoder(zoo.N_ITEMS, 4, items, items.sizes, ids, features, hidden)


@pytest.mark.parametrize("hidden", [None, 6])
def test_vectors_are_the_sum_of_their_parts(hidden):
    torch.manual_seed(0)
    both, items = encoder(True, True, hidden), zoo.items()
    expected = both.ids.weight + both.tower(items.codes, items.numbers, items.vector)
    assert torch.equal(both(items), expected)


def test_the_bias_starts_from_popularity():
    items = zoo.items()
    bias = encoder(True, False)(items)[:, -1]
    logs = torch.log1p(items.n_events.float())
    torch.testing.assert_close(bias - bias[0], logs - logs[0])


def test_later_items_are_zero_without_features_and_their_features_with_them():
    grown = zoo.items(zoo.N_ITEMS + 5)
    assert not encoder(True, False)(grown)[zoo.N_ITEMS :].any()
    both = encoder(True, True)
    features = both.tower(grown.codes, grown.numbers, grown.vector)
    assert torch.equal(both(grown)[zoo.N_ITEMS :], features[zoo.N_ITEMS :])


def test_items_need_something():
    with pytest.raises(ConfigError, match="neither"):
        encoder(False, False)
