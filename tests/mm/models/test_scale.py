"""Two ranks on gloo: what DDP sends, and what FSDP shards; what would keep a device waiting."""

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.registry import MODEL_WRAPPERS
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.utils._python_dispatch import TorchDispatchMode

from tests.mm.small import AAL, TEACHER, batch, build, total

DISTILLATION = dict(distill_head=dict(type="DistillHead", kind="soft"))
TRANSFER = dict(transfer_head=dict(type="ActivationTransferHead"))
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two ranks saw; they run once for all tests."""
    out = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    torch.multiprocessing.spawn(run_rank, (address, str(out)), nprocs=2)
    return [torch.load(out / f"{rank}.pth") for rank in (0, 1)]


@pytest.fixture(scope="module")
def one_rank():
    """Gradients of one rank with the whole batch."""
    model = build(AAL)
    total(model(*batch(4), mode="loss")).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def run_rank(rank, address, out):
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    seen = dict(ddp=run_ddp(rank))
    seen["fsdp"] = run_fsdp(rank, ModuleWrapPolicy({TransformerEncoderLayer}))
    torch.save(seen, f"{out}/{rank}.pth")
    dist.destroy_process_group()


def half(rank):
    images, samples = batch(4)
    return images[2 * rank : 2 * rank + 2], samples[2 * rank : 2 * rank + 2]


def run_ddp(rank):
    model = build(AAL)
    wrapped = MODEL_WRAPPERS.build(
        dict(type="MMDistributedDataParallel", module=model, broadcast_buffers=False)
    )
    sent = []

    def count(state, bucket):
        sent.append(bucket.buffer().numel() * bucket.buffer().element_size())
        work = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
        return work.then(lambda done: done.value()[0] / 2)

    wrapped.register_comm_hook(None, count)
    total(wrapped(*half(rank), mode="loss")).backward()
    return dict(
        sent=sum(sent),
        student=sum(p.numel() * 4 for n, p in model.named_parameters() if "link_head" not in n),
        links=sum(p.numel() * 4 for p in model.link_head.parameters()),
        gradients={name: p.grad for name, p in model.named_parameters()},
    )


def run_fsdp(rank, policy):
    model = build(AAL)
    wrapped = MODEL_WRAPPERS.build(
        dict(
            type="MMFullyShardedDataParallel",
            module=model,
            auto_wrap_policy=policy,
            use_orig_params=True,
            device_id=torch.device("cpu"),
        )
    ).train()
    total(wrapped(*half(rank), mode="loss")).backward()
    with FullyShardedDataParallel.summon_full_params(wrapped, with_grads=True):
        gradients = {
            name.replace("_fsdp_wrapped_module.", ""): parameter.grad.clone()
            for name, parameter in wrapped.named_parameters()
        }
    return dict(gradients=gradients, keys=list(wrapped.state_dict()))


def test_ddp_sends_the_gradients_of_student_and_links_and_no_more(ranks):
    for seen in ranks:
        assert seen["ddp"]["sent"] == seen["ddp"]["student"] + seen["ddp"]["links"]
        assert seen["ddp"]["links"] > 0


@pytest.mark.parametrize("wrapping", ["ddp", "fsdp"])
def test_two_ranks_give_the_gradients_of_one(ranks, one_rank, wrapping):
    for seen in ranks:
        assert seen[wrapping]["gradients"].keys() == one_rank.keys()
        for name, gradient in seen[wrapping]["gradients"].items():
            torch.testing.assert_close(gradient, one_rank[name], rtol=1e-4, atol=1e-5)


def test_sharded_state_dict_has_the_keys_of_a_plain_one(ranks):
    assert ranks[0]["fsdp"]["keys"] == list(build(AAL).state_dict())


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for a device: a value read, a shape that hangs on values."""

    WAITING = (
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.equal.default,
        torch.ops.aten.nonzero.default,
        torch.ops.aten.masked_select.default,
    )

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in self.WAITING:
            raise AssertionError(f"the step waits for {function}")
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("mix", [{}, {**DISTILLATION, **TRANSFER}])
@pytest.mark.parametrize("weight", [2000.0, 0.0])
def test_a_step_never_waits_for_the_device(mix, weight):
    model = build(dict(AAL, teacher=dict(TEACHER, num_classes=10), **mix))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.link_head.set_weight(weight)
    images, samples = batch()
    total(model(images, samples, mode="loss")).backward()  # what is made once is made here
    with NoWaiting():
        total(model(images, samples, mode="loss")).backward()
        optimizer.step()
    with NoWaiting(), pytest.raises(AssertionError, match="waits"):
        images.sum().item()
