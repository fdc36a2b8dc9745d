import pytest
import torch
from torch import nn

from aal_plugin.core.teacher.weights import load_weights


class Scaled(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(shape))


def takes_the_first_entry():
    """Whether this torch loads a vector into a number, as torch 2.6 does."""
    try:
        Scaled().load_state_dict(Scaled(5).state_dict())
    except RuntimeError:
        return False
    return True


old = pytest.mark.skipif(takes_the_first_entry(), reason="this torch takes the first entry")


@pytest.mark.parametrize(("own", "given"), [pytest.param((), (5,), marks=old), ((5,), ())])
def test_a_number_in_place_of_a_vector_is_no_other_number_of_classes(tmp_path, own, given):
    file = tmp_path / "w.pth"
    torch.save(Scaled(*given).state_dict(), file)
    with pytest.raises(ValueError, match="(?s)does not fit the teacher: .*size mismatch for scale"):
        load_weights(Scaled(*own), str(file), torch.load)
