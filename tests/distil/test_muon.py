"""Muon on a CPU: torch's own update, in float32, and the split of parameters it is meant for."""

import torch
from torch import nn

from gold_style.distil.muon import Muon, split_parameters
from tests.helpers.toys import model as toy_model

SHAPES = [(24, 24), (64, 24), (24, 64)]


def matrices():
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape) * 0.05) for shape in SHAPES]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    return parameters


def newton_schulz(matrix):
    """Five iterations of https://kellerjordan.github.io/posts/muon/ in float64."""
    x = matrix.double()
    x = x.T if x.shape[0] > x.shape[1] else x
    x = x / x.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def first_update(optimizer_class):
    before, parameters = matrices(), matrices()
    optimizer_class(parameters, lr=0.1, weight_decay=0.0).step()
    return [(old - new).detach() for old, new in zip(before, parameters, strict=True)]


def test_a_step_is_torchs_step_with_the_formulas_precision():
    for update, stock, parameter in zip(first_update(Muon), first_update(torch.optim.Muon), matrices(), strict=True):
        rows, columns = parameter.shape
        exact = 0.1 * max(1, rows / columns) ** 0.5 * newton_schulz(parameter.grad)
        assert (update - exact).norm() / exact.norm() < 1e-4
        assert 1e-4 < (stock - exact).norm() / exact.norm() < 0.05  # bfloat16


def test_parameters_are_split_into_layer_matrices_and_the_rest():
    model = toy_model(40)
    chosen, others = split_parameters(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(parameter)].rsplit(".", 2)[-2] for parameter in chosen} == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }
    assert len(chosen) + len(others) == len(names)
    model.requires_grad_(False)
    assert split_parameters(model) == ([], [])
