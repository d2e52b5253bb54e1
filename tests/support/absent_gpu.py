"""A GPU that is not there: the engine runs as on one, and whatever would fail for tensors on two devices fails.

Tensors "on" it are torch's fake ones, which have a shape, a type and a device, and no numbers; tensors on the host are
real. What the host asks for (:class:`ToHost`) is made up. So a whole run can be tried on a machine without a GPU: not
whether it is right, but whether it mixes devices, or asks a tensor on the GPU for its numbers behind everybody's back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

GIGABYTE = 2**30


class _Gpu(TorchDispatchMode):
    """What is made on, or brought to, the GPU is fake; all else is as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if device is None or torch.device(device).type != "cuda":
            return func(*args, **kwargs)
        args = tree_map_only(torch.Tensor, self._known, args)
        with self.fake:
            return func(*args, **kwargs)

    def network(self, make: Any, dtype: torch.dtype = torch.bfloat16) -> Any:
        """What ``make`` makes, on the GPU."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with self.fake, torch.device("cuda"):
                return make()
        finally:
            torch.set_default_dtype(before)

    def _known(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self.fake.from_tensor(tensor)


class MadeUp:
    """In place of ``ToHost``: numbers of the right shape.

    Args:
        tensor: on the GPU
    """

    draw = np.random.default_rng(0)

    def __init__(self, tensor: torch.Tensor) -> None:
        self._shape, self._dtype = tuple(tensor.shape), tensor.dtype

    def get(self) -> torch.Tensor:
        """Floats in [0, 1], any bytes, any truth."""
        if self._dtype.is_floating_point:
            return torch.from_numpy(self.draw.random(self._shape, np.float32)).to(self._dtype)
        numbers = self.draw.integers(0, 2 if self._dtype == torch.bool else 256, self._shape)
        return torch.from_numpy(numbers).to(self._dtype)


@contextmanager
def absent_gpu() -> Iterator[_Gpu]:
    """While it lasts, ``cuda`` is a device, and nothing on it has numbers."""
    from zoo.engine import ahead, asked, detector, packing, transfers

    class Side:
        def __init__(self, device: torch.device) -> None:
            pass

        def launch(self, encode: Any) -> Any:
            return encode()

        def ready(self, launched: Any) -> Any:
            return launched

    patches = [mock.patch.object(module, "ToHost", MadeUp) for module in (asked, detector, packing, transfers)]
    patches += [
        mock.patch.object(torch.cuda, "_lazy_init", lambda: None),
        mock.patch.object(torch.Tensor, "cpu", _fetched),
        mock.patch.object(torch.Tensor, "pin_memory", _pinned), mock.patch.object(ahead, "_Stream", Side),
        mock.patch.object(torch.cuda, "mem_get_info", lambda device=None: (64 * GIGABYTE, 80 * GIGABYTE)),
        mock.patch.object(torch.cuda, "memory_reserved", lambda device=None: 0),
        mock.patch.object(torch.cuda, "memory_allocated", lambda device=None: 0),
    ]  # fmt: skip
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        # as in `FakeTensorMode`: a tensor of numbers is made on the host, and then brought to its device
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, before)
        yield stack.enter_context(_Gpu())


def _fetched(tensor: torch.Tensor) -> torch.Tensor:
    return MadeUp(tensor).get() if isinstance(tensor, FakeTensor) else tensor


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    """As the real one, of which only tensors on the host can be pinned."""
    if tensor.device.type != "cpu":
        raise RuntimeError("only dense CPU tensors can be pinned")
    return tensor
