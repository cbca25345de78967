"""The recurrent layer's faster way: equal to torch's but for rounding, checked in float64."""

import pytest
import torch
from torch import Tensor, nn

from pairbench_cpu.rnn import Recurrence, fast_recurrence


def figures(module: nn.RNN, rows: Tensor) -> list[Tensor]:
    rows = rows.clone().requires_grad_()
    states, last = module(rows)
    back = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=rows.dtype)
    total = (states * back).sum() + last.square().sum()
    gradients = torch.autograd.grad(total, [rows, *module.parameters()], create_graph=True)
    again = torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), list(module.parameters()))
    return [states, last, *gradients, *again]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 4, 6), (4, 1, 2)])
def test_a_recurrent_layer_is_the_same_with_its_first_and_second_derivatives(
    batch_first: bool, bias: bool, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    module = nn.RNN(shape[-1], 8, bias=bias, batch_first=batch_first).double()
    rows = torch.randn(shape, dtype=torch.float64)
    expected = figures(module, rows)
    with fast_recurrence(module) as found:
        assert len(found) == 1
        torch.testing.assert_close(figures(module, rows), expected)
    assert "forward" not in vars(module)


def test_models_of_one_vmap_are_the_same() -> None:
    torch.manual_seed(0)
    module = nn.RNN(3, 5).double()
    weights = {
        name: torch.randn(4, *item.shape, dtype=torch.float64, requires_grad=True)
        for name, item in module.named_parameters()
    }
    rows = torch.randn(4, 6, 2, 3, dtype=torch.float64)
    with fast_recurrence(module):
        states, _ = torch.func.vmap(lambda own, rows: torch.func.functional_call(module, own, rows))(weights, rows)
        assert type(states.grad_fn).__name__ == "RecurrenceBackward"
        found = torch.autograd.grad(states.square().sum(), list(weights.values()))
    for number in range(4):
        own = {name: item[number].detach().requires_grad_() for name, item in weights.items()}
        alone, _ = torch.func.functional_call(module, own, rows[number])
        torch.testing.assert_close(states[number], alone)
        expected = torch.autograd.grad(alone.square().sum(), list(own.values()))
        torch.testing.assert_close([gradient[number] for gradient in found], list(expected))


@pytest.mark.parametrize(
    "module",
    [
        nn.RNN(3, 5, num_layers=2),
        nn.RNN(3, 5, bidirectional=True),
        nn.RNN(3, 5, nonlinearity="relu"),
        nn.GRU(3, 5),
        nn.LSTM(3, 5),
    ],
)
def test_other_layers_are_left_to_torch(module: nn.Module) -> None:
    with fast_recurrence(module) as found:
        assert not found


def test_a_first_state_and_single_rows_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.RNN(3, 5)
    cases = [(torch.randn(4, 2, 3), torch.randn(1, 2, 5)), (torch.randn(4, 3),)]
    expected = [module(*case) for case in cases]
    monkeypatch.setattr(Recurrence, "apply", None)
    with fast_recurrence(module):
        for case, states in zip(cases, expected, strict=True):
            torch.testing.assert_close(module(*case), states)
