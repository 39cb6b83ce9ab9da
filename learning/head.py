"""Multinomial logistic regression, trained to convergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    Floats = NDArray[np.float32]

_STEPS = 60  # of L-BFGS; by then the loss stands still
_HISTORY = 10


class Head(NamedTuple):
    """Trained weights.

    Attributes:
        weights: shape (inputs, labels), float32.
        bias: shape (labels,), float32.
    """

    weights: Floats
    bias: Floats


class _SparseProduct(torch.autograd.Function):
    """A constant sparse matrix times a dense one; torch alone multiplies with only one thread."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        weights: torch.Tensor,
        inputs: sparse.csr_matrix,
        transposed: sparse.csr_matrix,
    ) -> torch.Tensor:
        ctx.transposed = transposed  # type: ignore[attr-defined] # as torch documents it
        return torch.from_numpy(inputs @ weights.detach().numpy())

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        transposed: sparse.csr_matrix = ctx.transposed  # type: ignore[attr-defined] # see forward
        return torch.from_numpy(transposed @ gradient.contiguous().numpy()), None, None


def fit_head(  # noqa: PLR0913, PLR0917 - a problem, and how to solve it
    inputs: sparse.csr_matrix,
    targets: NDArray[np.intp],
    weights: Floats,
    labels: int,
    strength: float,
    start: Head | None = None,
    scales: Floats | None = None,
) -> Head:
    """Minimise cross-entropy plus an L2 penalty on the weights by L-BFGS.

    Args:
        inputs: shape (n, inputs), float32.
        targets: shape (n,), index of each label.
        weights: shape (n,), how much each example counts; not all 0.
        labels: how many there are.
        strength: inverse of the penalty: the loss is that of scikit-learn's `LogisticRegression`
            with `C` of this value.
        start: weights to begin with; those of another strength save steps.
        scales: shape (inputs, labels), greater than 0; the penalty is on weights divided by them,
            so that a weight of a larger scale comes cheaper. All 1 by default.
    """
    start = start or Head(np.zeros((inputs.shape[1], labels), np.float32), np.zeros(labels, "f4"))
    cheap = torch.ones(()) if scales is None else torch.from_numpy(scales)
    matrix = (torch.from_numpy(start.weights) / cheap).requires_grad_()
    bias = torch.tensor(start.bias, requires_grad=True)
    target, weight = torch.from_numpy(targets), torch.from_numpy(weights)
    transposed = inputs.T.tocsr()
    total = float(weights.sum())
    solver = torch.optim.LBFGS(
        [matrix, bias], max_iter=_STEPS, history_size=_HISTORY, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        product = _SparseProduct.apply(matrix * cheap, inputs, transposed)  # type: ignore[no-untyped-call] # torch
        logits = product + bias
        each = torch.nn.functional.cross_entropy(logits, target, reduction="none")
        value: torch.Tensor = (each @ weight + matrix.square().sum() / (2 * strength)) / total
        value.backward()  # type: ignore[no-untyped-call] # torch
        return value

    solver.step(loss)  # type: ignore[no-untyped-call] # torch
    return Head((matrix * cheap).detach().numpy(), bias.detach().numpy())


def logits_of(head: Head, inputs: sparse.csr_matrix) -> Floats:
    """Return logits, shape (n, labels), float32."""
    logits: Floats = (inputs @ head.weights + head.bias).astype(np.float32)
    return logits
