"""A product with the same matrix in every step, its gradient computed once for all of them."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Pairs = list[tuple[Tensor, Tensor]]
"""What was multiplied in each step, and the gradient of its product."""


class RepeatedProduct:
    """Multiplies with one matrix again and again.

    By itself, torch computes a gradient of the whole matrix in every step and adds them up: thin products, and the
    matrix read and written each time. Here the steps leave what such a gradient is made of, and one product of all
    steps makes it.

    Args:
        matrix: float32 [feature, output], or [batch, feature, output] with one for each sample.
        bias: float32 [output], added to the product; None for none, as with one matrix for each sample.

    Example:
        of_state = RepeatedProduct(weight.T, bias), then in each step of_state(hidden), float32 [batch, beam, feature],
        is linear(hidden, weight, bias).
    """

    def __init__(self, matrix: Tensor, bias: Tensor | None = None) -> None:
        self._pairs: Pairs = []
        self._matrix, self._bias = _Whole.apply(matrix, bias, self._pairs)  # type: ignore[no-untyped-call]

    def __call__(self, inputs: Tensor) -> Tensor:
        """float32 [batch, beam, feature] → float32 [batch, beam, output]."""
        product: Tensor = _Step.apply(  # type: ignore[no-untyped-call]
            inputs, self._matrix, self._bias, self._pairs
        )
        return product


class _Whole(torch.autograd.Function):
    """Matrix and bias as they are; autograd comes back here when it has been through all steps."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, bias: Tensor | None, pairs: Pairs) -> tuple[Tensor, Tensor | None]:
        ctx.pairs, ctx.dtype = pairs, matrix.dtype
        ctx.batched, ctx.biased = matrix.dim() == 3, bias is not None
        ctx.set_materialize_grads(False)
        return matrix.view_as(matrix), None if bias is None else bias.view_as(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *_: None) -> tuple[Tensor | None, Tensor | None, None]:
        if not ctx.pairs:
            return None, None, None
        inputs, gradients = (torch.cat(parts, -2) for parts in zip(*ctx.pairs, strict=True))
        ctx.pairs.clear()
        if not ctx.batched:
            inputs, gradients = inputs.flatten(0, 1), gradients.flatten(0, 1)
        of_matrix = (inputs.to(gradients.dtype).mT @ gradients).to(ctx.dtype)
        return of_matrix, gradients.sum(0).to(ctx.dtype) if ctx.biased else None, None


class _Step(torch.autograd.Function):
    """One product, whose backward leaves the matrix to `_Whole`."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, matrix: Tensor, bias: Tensor | None, pairs: Pairs) -> Tensor:
        ctx.save_for_backward(inputs, matrix)
        ctx.pairs = pairs
        return inputs @ matrix if bias is None else torch.nn.functional.linear(inputs, matrix.mT, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        inputs, matrix = ctx.saved_tensors
        ctx.pairs.append((inputs, gradient))
        return (gradient @ matrix.mT.to(gradient.dtype)).to(inputs.dtype), None, None, None
