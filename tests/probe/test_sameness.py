"""Whether two objects are told to hold the same values."""

from typing import Any

import numpy as np
import torch

from tests.probe.conftest import Gate
from thermotui.probe.sameness import differences


def test_sameness_goes_through_what_objects_hold() -> None:
    class Holder:
        def __init__(self, value: Any) -> None:
            self.value, self.myself = value, self

    def same(one: Any, other: Any) -> bool:
        return not any(bool(each) for each in differences(one, other))

    generator = torch.Generator()
    equal: list[tuple[Any, Any]] = [
        (Holder([1.5, torch.ones(2)]), Holder([1.5, torch.ones(2)])),
        ({"a": np.ones(2)}, {"a": np.ones(2)}),
        (float("nan"), float("-nan")),
        (Gate(3), Gate(3)),
        (generator, torch.Generator()),
    ]
    different: list[tuple[Any, Any]] = [
        (Holder([1.5, torch.ones(2)]), Holder([1.5, torch.zeros(2)])),
        (Holder({1.5}), Holder({2.5})),
        ([1, 2], [1, 2, 3]),
        ((1.25, 2.5), (float("1.25"), 3.5)),
        (torch.ones(2), torch.ones(3)),
        (Gate(3), Gate(4)),
        (generator, torch.Generator().manual_seed(3)),
        (iter([1]), iter([1])),
    ]
    assert all(same(*pair) for pair in equal)
    assert not any(same(*pair) for pair in different)
