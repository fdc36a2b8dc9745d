import hashlib

import pytest
import torch
from mmengine.config import Config

from tools.studies.weight_sums import weights_of


def test_a_teacher_trained_anew_to_equal_weights_is_the_same_teacher(tmp_path):
    path = tmp_path / "teacher.pth"
    cfg = Config(dict(model=dict(teacher=dict(checkpoint=str(path)))))

    def sum_of(state_dict, **other):
        torch.save(dict(state_dict=state_dict, **other), path)
        return weights_of(cfg)[str(path)]

    weights = {"a": torch.arange(4.0).reshape(2, 2), "b": torch.tensor(3), "c": torch.zeros(0)}
    first = sum_of(weights, meta=dict(time="Monday"))
    assert sum_of(dict(reversed(weights.items())), meta=dict(time="Tuesday")) == first
    assert sum_of({**weights, "a": weights["a"].T.contiguous().T}) == first
    others = [
        {**weights, "a": weights["a"].T},
        {**weights, "a": weights["a"].reshape(4)},
        {**weights, "a": weights["a"].bfloat16()},
        {**weights, "a": weights["a"].view(torch.int32)},
        {**weights, "b": torch.tensor(4)},
        {"a": weights["a"], "b": weights["b"]},
        {"d": weights["a"], "b": weights["b"], "c": weights["c"]},
    ]
    sums = [sum_of(other) for other in others]
    assert len({first, *sums}) == 8


@pytest.mark.parametrize("saved", [{"model": {"a": torch.zeros(1)}}, [torch.zeros(1)]])
def test_a_file_of_another_form_is_summed_as_it_is(tmp_path, saved):
    path = tmp_path / "teacher.pth"
    torch.save(saved, path)
    cfg = Config(dict(checkpoint=str(path)))
    assert weights_of(cfg) == {str(path): hashlib.sha1(path.read_bytes()).hexdigest()}
