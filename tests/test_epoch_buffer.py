"""What the steps of an epoch gave, gathered as they come."""

from __future__ import annotations

import torch

from pairbench.training.epoch_buffer import Gathered


def test_pieces_stand_in_their_order_along_the_axis() -> None:
    for axis in (0, 1):
        whole = torch.arange(30.0).reshape(5, 2, 3).transpose(0, axis).contiguous()
        gathered = Gathered(5, axis)
        for start, size in ((0, 2), (2, 2), (4, 1)):
            gathered.add(torch.tensor(float(size)), {"logits": whole.narrow(axis, start, size)})
        assert torch.equal(gathered.tables["logits"], whole)
        assert gathered.total() == 5.0


def test_losses_of_several_rounds_are_summed_apart() -> None:
    gathered = Gathered(4, axis=1)
    for total in (torch.tensor([1.0, 10.0]), torch.tensor([2.0, 20.0])):
        gathered.add(total, {"target": torch.zeros(2, 2)})
    assert gathered.total().tolist() == [3.0, 30.0]


def test_the_type_of_a_piece_is_kept() -> None:
    gathered = Gathered(1)
    gathered.add(torch.tensor(0.5), {"classes": torch.tensor([[3, -1]]), "empty": torch.empty(1, 0)})
    assert gathered.tables["classes"].tolist() == [[3, -1]]
    assert gathered.tables["empty"].shape == (1, 0)
