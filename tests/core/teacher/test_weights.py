import pytest
import torch
from torch import nn

from aal_plugin.core.teacher.weights import load_weights


class Scaled(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(shape))


@pytest.mark.parametrize(("own", "given"), [((), (5,)), ((5,), ())])
def test_a_number_in_place_of_a_vector_is_no_other_number_of_classes(tmp_path, own, given):
    file = tmp_path / "w.pth"
    torch.save(Scaled(*given).state_dict(), file)
    with pytest.raises(ValueError, match="(?s)does not fit the teacher: .*size mismatch for scale"):
        load_weights(Scaled(*own), str(file), torch.load)
