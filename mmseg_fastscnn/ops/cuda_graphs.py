"""Functions of one tensor as CUDA graphs: all their kernels in one launch."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_fastscnn.ops import host

Function = Callable[[Tensor], Tensor]
MOST = 8  # shapes that get a graph; ms+flip has six sizes
WARM_UP = 3  # calls before a capture, in which cuDNN chooses its kernels


class Captured(NamedTuple):
    """A graph, and the tensors that it reads and writes in every replay."""

    inputs: Tensor
    output: Tensor
    replay: Callable[[], None]


class CudaGraphs:
    """Calls a function of one tensor by a CUDA graph for each shape.

    The first `MOST` shapes get one, at their first call; others, and calls that may be
    asked for gradients, run as they are. Results are copied out of the graph, so they
    stay when the next one is computed. When a weight has moved in memory, as by
    `model.to(...)`, the graphs are dropped, and the shapes count anew. A copy or a
    pickle has no graphs yet. Only one thread may call it at a time.

    Args:
        function: It must start the same kernels in each call, wait for nothing, and
            read no tensors but its argument and the weights.
        weights: Gives the weights. None of them may be replaced by another tensor,
            as `load_state_dict(..., assign=True)` does.
    """

    def __init__(self, function: Function, weights: Callable[[], Iterator[Tensor]]):
        self.function = function
        self.weights = weights
        self._begin()

    def __call__(self, x: Tensor) -> Tensor:
        if x.device.type == host.HOST or torch.is_grad_enabled():
            return self.function(x)
        if places_of(self.read) != self.places:
            self._begin()
        key = (x.shape, x.stride(), x.dtype, x.device)
        if key not in self.graphs:
            if len(self.graphs) == MOST:
                return self.function(x)
            self.graphs[key] = self._captured(x)
        graph = self.graphs[key]
        graph.inputs.copy_(x)
        graph.replay()
        return graph.output.clone()

    def _begin(self) -> None:
        """Drop all graphs."""
        self.graphs: dict[tuple, Captured] = {}
        self.pool: object = None
        self.stream: torch.cuda.Stream | None = None
        self.read: list[Tensor] = []  # the weights, to walk through the model but once
        self.places: list[int] = []

    def _captured(self, x: Tensor) -> Captured:
        """Capture a call; all graphs share their memory, as they run in turn."""
        if not self.graphs:
            self.read = list(self.weights())
            self.places = places_of(self.read)
            if x.is_cuda:
                self.pool = torch.cuda.graph_pool_handle()
                # memory of a pool is used again only on the stream that it is of
                self.stream = torch.cuda.Stream(x.device)
        # tensors made in inference mode could not be written to outside of it
        with torch.inference_mode(False), torch.no_grad():
            return captured(self.function, x.clone(), self.pool, self.stream)

    def __getstate__(self) -> dict:
        return vars(CudaGraphs(self.function, self.weights))


def places_of(tensors: list[Tensor]) -> list[int]:
    """Return where tensors lie in memory."""
    return [tensor.data_ptr() for tensor in tensors]


def captured(
    function: Function,
    inputs: Tensor,
    pool: object = None,
    stream: torch.cuda.Stream | None = None,
) -> Captured:
    """Capture a call of a function, after some on the side.

    Only this thread's calls are watched: others may read and copy images meanwhile.

    Args:
        function: See `CudaGraphs`.
        inputs: What it is called with.
        pool, stream: Those of graphs that it shares memory with.
    """
    with torch.cuda.device_of(inputs):
        stream = stream or torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        options = dict(pool=pool, stream=stream, capture_error_mode='thread_local')
        with torch.cuda.graph(graph, **options):
            output = function(inputs)
    return Captured(inputs, output, graph.replay)


def check_cuda_graph(device: torch.device) -> None:
    """Raise ValueError if a device has no CUDA graphs."""
    if device.type != 'cuda':
        raise ValueError(
            f'cuda_graph needs a CUDA device, and the model is on {device}.'
        )
