import math

import pytest
import torch

from aal_plugin.core import class_token_attention, qkv_class_token_attention
from aal_plugin.core.student.families.timm_vit import _read_beit


def slow_class_attention(qkv, heads, prefix, grid, query_norm=None, key_norm=None):
    """Eq. 3 as loops: softmax over patch keys of q_cls·k / sqrt(D), put on the grid row by row."""
    batch, tokens, width = qkv.shape
    dim = width // (3 * heads)
    h, w = grid
    maps = torch.zeros(batch, heads, h, w, dtype=qkv.dtype)
    for b in range(batch):
        for m in range(heads):
            q = qkv[b, 0, m * dim : (m + 1) * dim]
            q = query_norm(q) if query_norm else q
            scores = []
            for n in range(prefix, tokens):
                start = heads * dim + m * dim
                k = qkv[b, n, start : start + dim]
                k = key_norm(k) if key_norm else k
                scores.append(sum(float(q[d]) * float(k[d]) for d in range(dim)) / math.sqrt(dim))
            exps = [math.exp(s) for s in scores]
            for n, e in enumerate(exps):
                maps[b, m, n // w, n % w] = e / sum(exps)
    return maps


@pytest.mark.parametrize(("prefix", "normed"), [(1, False), (2, True), (5, False)])
def test_maps_equal_loop_reference_on_a_non_square_grid(prefix, normed):
    torch.manual_seed(0)
    qkv = torch.randn(2, prefix + 6, 3 * 2 * 4, dtype=torch.float64)
    norms = [torch.nn.LayerNorm(4).double() for _ in range(2 * normed)]
    for norm in norms:
        torch.nn.init.normal_(norm.weight)
    with torch.no_grad():
        maps = qkv_class_token_attention(qkv, (2, 3), 2, prefix, 4**-0.5, *norms)
        torch.testing.assert_close(maps, slow_class_attention(qkv, 2, prefix, (2, 3), *norms))


def test_maps_of_half_precision_are_float32_and_sum_to_one():
    qkv = torch.randn(2, 10, 3 * 8, dtype=torch.bfloat16)
    maps = qkv_class_token_attention(qkv, (3, 3), 2, 1, scale=0.5)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(2, 2))


def test_gradients_reach_query_and_key():
    query = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    key = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda q, k: class_token_attention(q, k, (2, 2), 0.5), (query, key)
    )


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (3, "3 patch tokens do not fill the .* 2×2.*patch dropout is on, or .* 1 too large"),
        (6, "6 patch tokens do not fill the .* nothing else: num_prefix_tokens, .* is 2 too small"),
    ],
)
def test_tokens_that_do_not_fill_the_grid_are_an_error(tokens, words):
    with pytest.raises(ValueError, match=words):
        class_token_attention(torch.randn(1, 2, 4), torch.randn(1, tokens, 2, 4), (2, 2), 0.5)


def test_gradient_of_query_and_keys_is_that_of_slices():
    from aal_plugin.core.student.maps import _QueryAndKeys

    def slices(qkv, prefix, class_token):
        return qkv[:, :1, :4] if class_token else qkv[:, prefix:, :4], qkv[:, prefix:, 4:8]

    for prefix, class_token in ((1, True), (3, True), (1, False)):
        qkv = torch.randn(2, 6, 12, dtype=torch.float64, requires_grad=True)
        results = []
        for function in (_QueryAndKeys.apply, slices):
            query, key = function(qkv, prefix, class_token)
            value = (query.sin() * key.cos()).sum()
            results.append([query, key, *torch.autograd.grad(value, qkv)])
        for got, expected in zip(*results):
            assert torch.equal(got, expected)
        assert torch.autograd.gradgradcheck(_QueryAndKeys.apply, (qkv, prefix, class_token))


def test_reading_attention_makes_one_gradient_of_the_size_of_qkv():
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and not func.is_view and func.__name__[-1] != "_":
                sizes.append(out.numel())
            return out

    qkv = torch.randn(2, 10, 3 * 8, requires_grad=True)
    loss = qkv_class_token_attention(qkv, (3, 3), 2, 1, 0.5).square().sum()
    with Sizes():
        torch.autograd.grad(loss, qkv)
    assert sum(size >= qkv.numel() for size in sizes) == 1


@pytest.mark.parametrize("bias", ["of qkv", "q_bias", "none"])
def test_the_class_tokens_attention_from_tokens_is_that_of_queries_and_keys(bias):
    """With each way to hold a query's bias; a key's bias adds the same to every score."""
    torch.manual_seed(0)
    attn = torch.nn.Module()
    attn.num_heads, attn.scale = 2, 0.3
    attn.qkv = torch.nn.Linear(8, 24, bias=bias == "of qkv").double()
    if bias == "q_bias":
        attn.q_bias = torch.nn.Parameter(torch.randn(8, dtype=torch.float64))
    tokens = torch.randn(3, 1 + 6, 8, dtype=torch.float64)
    qkv = attn.qkv(tokens)
    query, key, _ = (part.unflatten(-1, (2, 4)) for part in qkv.chunk(3, dim=-1))
    if bias == "q_bias":
        query = query + attn.q_bias.unflatten(0, (2, 4))
    scores = torch.einsum("bmd,btmd->bmt", query[:, 0], key) * attn.scale
    expected = scores[..., 1:].softmax(dim=-1).unflatten(-1, (2, 3))
    found = _read_beit(tokens, (2, 3), attn, num_prefix_tokens=1)
    torch.testing.assert_close(found, expected)
