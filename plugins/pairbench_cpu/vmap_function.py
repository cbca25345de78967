"""Functions of autograd that may run inside a vmap, without torch's general way, which is slow for small layers."""

from __future__ import annotations

import types
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C._functorch import (
    CVmapInterpreterPtr,
    TransformType,
    _add_batch_dim,
    _unwrap_batched,
    peek_interpreter_stack,
    pop_dynamic_layer_stack,
    push_dynamic_layer_stack,
)


class _Stacked(NamedTuple):
    """What a rule for vmap is told."""

    batch_size: int


class VmapFunction(torch.autograd.Function):
    """A function of torch that may be called within a vmap, too.

    torch looks at signatures and nested arguments at each call, which takes longer than a small layer. So outside of
    transformations, and for one vmap alone, the same parts are called as a function in torch's older form.
    """

    plain: type[torch.autograd.Function]

    def __init_subclass__(cls) -> None:
        parts: Any = cls

        def forward(ctx: Any, *args: Any) -> Any:
            answer, kept = parts.forward_and_kept(*args)
            parts.setup_context(ctx, args, answer)
            ctx.kept = kept
            return answer

        own = {"forward": staticmethod(forward), "backward": staticmethod(parts.backward)}
        cls.plain = types.new_class(cls.__name__, (torch.autograd.Function,), exec_body=lambda body: body.update(own))

    @classmethod
    def forward_and_kept(cls, *args: Any) -> tuple[Any, Any]:
        """The answer, and what `backward` finds as `ctx.kept` where this was called in torch's older form."""
        return cls.forward(*args), None

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        """The answers of several models, where a function takes one more axis in front of its tables for them."""
        return cls.apply(*in_front(info.batch_size, in_dims, inputs)), 0

    @classmethod
    def apply(cls, *args: Any) -> Any:
        interpreter = peek_interpreter_stack()
        if interpreter is None:
            return cls.plain.apply(*args)
        if interpreter.level() > 1 or interpreter.key() != TransformType.Vmap:
            return super().apply(*args)
        pairs = [_unwrap_batched(item, 1) if isinstance(item, Tensor) else (item, None) for item in args]
        info = _Stacked(CVmapInterpreterPtr(interpreter).batchSize())
        rule: Any = cls.vmap
        layer = pop_dynamic_layer_stack()
        try:
            found, places = rule(info, tuple(place for _, place in pairs), *(item for item, _ in pairs))
        finally:
            push_dynamic_layer_stack(layer)
        if isinstance(found, Tensor):
            return _add_batch_dim(found, places, 1)
        return tuple(_add_batch_dim(item, place, 1) for item, place in zip(found, places, strict=True))


def in_front(models: int, in_dims: tuple[int | None, ...], inputs: tuple[Any, ...]) -> list[Any]:
    """`inputs` with the axis of the models in front of each tensor, one after the other in memory."""
    return [
        item
        if not isinstance(item, Tensor)
        else (item.expand(models, *item.shape) if place is None else item.movedim(place, 0)).contiguous()
        for item, place in zip(inputs, in_dims, strict=True)
    ]


def several() -> bool | None:
    """Whether a tensor is here several at once, of models under one vmap; None under any other transformation."""
    interpreter = peek_interpreter_stack()
    if interpreter is None:
        return False
    alone = interpreter.level() == 1 and interpreter.key() == TransformType.Vmap
    return True if alone else None
