"""Members' opinions and the part of the catalogue they are about, by hand."""

import torch

from kdspark.models.opinions import Opinions, shortlist, top_of


def test_the_shortlist_is_the_most_popular_of_what_is_allowed() -> None:
    n_events = torch.tensor([5, 9, 0, 7, 5, 8])
    allowed = torch.tensor([True, True, False, True, True, False])
    assert shortlist(n_events, allowed, 3).tolist() == [0, 1, 3]  # of 0 and 4, which are equal, the first
    assert shortlist(n_events, allowed, 99).tolist() == [0, 1, 3, 4]


def test_an_opinion_is_what_is_above_the_mean_and_not_in_the_history() -> None:
    z = torch.tensor([[0.0, 6.0, 2.0, 4.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 8.0]])
    seen = torch.tensor([[False, True, False, False], [False] * 4, [False] * 4])
    items, leads = top_of(z, seen, torch.tensor([2, 5, 6, 9]), 2)
    assert items.tolist() == [[9, -1], [-1, -1], [9, -1]]
    assert leads.tolist() == [[1.0, 0.0], [0.0, 0.0], [6.0, 0.0]]
    wide, _ = top_of(z, seen, torch.tensor([2, 5, 6, 9]), 99)
    assert wide.shape == (3, 4)


def test_members_are_stacked() -> None:
    one, two = (torch.tensor([[i]]) for i in (1, 2))
    known = [torch.tensor([True]), torch.tensor([False])]
    opinions = Opinions.of([(one, one.float()), (two, two.float())], known, torch.tensor([3]))
    assert opinions.items_BMK.tolist() == [[[1], [2]]]
    assert opinions.leads_BMK.tolist() == [[[1.0], [2.0]]]
    assert opinions.known_BM.tolist() == [[True, False]]
