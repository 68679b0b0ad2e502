"""Causal encoders: nothing sees what comes later, and padding on the right changes nothing."""

import pytest
import torch
from torch import nn

from kdspark.models.attention import Attentive
from kdspark.models.sequence import Convolutional, Recurrent

DIM, WIDTH = 8, 7
NETWORKS = {
    "gru": lambda: Recurrent(nn.GRU, DIM, 12, 2, 0.2),
    "lstm": lambda: Recurrent(nn.LSTM, DIM, DIM, 1, 0.2),
    "cnn": lambda: Convolutional(DIM, 3, 3, 3, 0.2),
    "attention": lambda: Attentive(DIM, WIDTH, 2, 2, 0.2),
}


@pytest.fixture(params=list(NETWORKS))
def network(request):
    torch.manual_seed(0)
    return NETWORKS[request.param]().eval()


def reach(network, inputs, position):
    """bool [W]: inputs that a position's vector depends on."""
    weights = torch.arange(1.0, DIM + 1)  # a plain sum over a layer norm is constant
    (gradient,) = torch.autograd.grad((network(inputs)[:, position] * weights).sum(), inputs)
    return gradient.abs().sum(dim=(0, 2)) > 1e-9


def test_no_position_sees_a_later_one(network):
    inputs = torch.randn(2, WIDTH, DIM, requires_grad=True)
    for position in range(WIDTH):
        reached = reach(network, inputs, position)
        assert not reached[position + 1 :].any()
        assert reached[position]


def test_padding_on_the_right_changes_nothing_before_it(network):
    inputs = torch.randn(3, WIDTH, DIM)
    padded = inputs.clone()
    padded[:, 4:] = 0
    torch.testing.assert_close(network(padded)[:, :4], network(inputs[:, :4]))


def test_dropout_is_off_in_evaluation(network):
    inputs = torch.randn(2, WIDTH, DIM)
    assert torch.equal(network(inputs), network(inputs))


def test_convolutions_reach_as_far_as_their_dilations():
    torch.manual_seed(0)
    network = Convolutional(DIM, 4, kernel=2, layers=2, dropout=0.0).eval()  # reaches 1 + 2 back
    inputs = torch.randn(1, WIDTH, DIM, requires_grad=True)
    assert reach(network, inputs, WIDTH - 1).tolist() == [False] * 3 + [True] * 4


def test_attention_by_torchs_own_module():
    torch.manual_seed(0)
    block = Attentive(DIM, WIDTH, 1, 2, 0.0).eval().blocks[0]
    reference = nn.MultiheadAttention(DIM, 2, batch_first=True)
    reference.load_state_dict(
        {
            "in_proj_weight": block.qkv.weight,
            "in_proj_bias": block.qkv.bias,
            "out_proj.weight": block.out.weight,
            "out_proj.bias": block.out.bias,
        }
    )
    inputs = torch.randn(3, WIDTH, DIM)
    later = nn.Transformer.generate_square_subsequent_mask(WIDTH)
    expected, _ = reference(inputs, inputs, inputs, attn_mask=later, need_weights=False)
    torch.testing.assert_close(block.out(block._attend(inputs)), expected)
