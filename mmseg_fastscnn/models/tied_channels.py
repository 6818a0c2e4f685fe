"""Which layers share their channels: a walk through the network.

Layers read the channels that other layers write, a bottleneck adds its input to its
output, and a depthwise convolution keeps channels apart. So channels come in groups: a
choice of channels must be the same in all layers of a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mmcv.cnn import DepthwiseSeparableConvModule
from torch import Tensor, nn

from mmseg_fastscnn.models.decode_heads import FCNHead
from mmseg_fastscnn.models.fast_scnn import FastSCNN, InvertedResidual

IMAGE = 'image'
State = Mapping[str, Tensor]
Groups = tuple[str, ...]  # of channels, side by side


@dataclass(frozen=True)
class Layer:
    """A convolution with its normalisation, and the groups of channels that it joins.

    Attributes:
        name: Name of the module.
        reads: The groups that it reads.
        writes: The groups that it writes; a new one has the layer's name.
        unlike: A group whose size must differ from that of the one written; otherwise
            the bottleneck would add its input.
    """

    name: str
    reads: Groups
    writes: Groups
    unlike: str | None = None

    @property
    def is_depthwise(self) -> bool:
        return self.reads == self.writes

    @property
    def is_classifier(self) -> bool:
        return self.name.endswith('.conv_seg')

    def kernel(self, state: State) -> Tensor | None:
        """Return the weights of the convolution, (out, in, h, w)."""
        return state.get(f'{self.name}.{"" if self.is_classifier else "conv."}weight')

    def names(self, state: State) -> list[str]:
        return [name for name in state if name.startswith(f'{self.name}.')]

    def agrees(self, state: State, model: State, sizes: Mapping[str, int]) -> bool:
        """Return whether a file has all of the layer, in shapes that fit the groups."""
        out = sum(sizes[group] for group in self.writes)
        read = 1 if self.is_depthwise else sum(sizes[group] for group in self.reads)
        shapes = {0: (), 1: (out,), 4: (out, read, *self.kernel(model).shape[2:])}
        return sizes.get(self.unlike) != out and all(
            name in state and tuple(state[name].shape) == shapes[model[name].dim()]
            for name in self.names(model)
        )


class Walk:
    """A walk through a segmentor, from the image to the logits of each head.

    Attributes:
        parts: The layers of the backbone, and those of each head.
    """

    def __init__(self, model: nn.Module):
        self.parts: list[list[Layer]] = [[]]
        maps = self.backbone(model.backbone)
        for name, head in model.named_modules():
            if isinstance(head, FCNHead):
                self.parts.append([])
                self.head(name, head, maps[head.in_index])

    def add(
        self, name: str, *reads: str, tied: Groups = (), unlike: str | None = None
    ) -> str:
        self.parts[-1].append(Layer(name, reads, tied or (name,), unlike))
        return self.parts[-1][-1].writes[0]

    def conv(self, name: str, layer: nn.Module, *groups: str) -> str:
        if isinstance(layer, DepthwiseSeparableConvModule):
            self.add(f'{name}.depthwise_conv', *groups, tied=groups)
            name = f'{name}.pointwise_conv'
        return self.add(name, *groups)

    def backbone(self, backbone: FastSCNN) -> list[str]:
        """Add the layers of the backbone; return the groups of its feature maps."""
        x, start = IMAGE, 'backbone.learning_to_downsample'
        for name, layer in backbone.learning_to_downsample.named_children():
            x = self.conv(f'{start}.{name}', layer, x)
        higher = x
        for name, block in backbone.named_modules(prefix='backbone'):
            if isinstance(block, InvertedResidual):
                x = self.bottleneck(f'{name}.conv', block, x)
        middle, end = 'backbone.global_feature_extractor', 'backbone.feature_fusion'
        scales = range(len(backbone.global_feature_extractor.ppm))
        levels = [self.add(f'{middle}.ppm.{k}.1', x) for k in scales]
        lower = self.add(f'{middle}.out', x, *levels)
        self.add(f'{end}.dwconv', lower, tied=(lower,))
        fused = self.add(f'{end}.conv_lower_res', lower)
        self.add(f'{end}.conv_higher_res', higher, tied=(fused,))
        return [(higher, lower, fused)[k] for k in backbone.out_indices]

    def bottleneck(self, name: str, block: InvertedResidual, x: str) -> str:
        inside = self.add(f'{name}.0', x)
        self.add(f'{name}.1', inside, tied=(inside,))
        if block.use_residual:
            return self.add(f'{name}.2', inside, tied=(x,))
        return self.add(f'{name}.2', inside, unlike=x if block.stride == 1 else None)

    def head(self, name: str, head: FCNHead, feature: str) -> None:
        x = feature
        for k, layer in enumerate(head.convs):
            x = self.conv(f'{name}.convs.{k}', layer, x)
        if head.conv_cat is not None:
            x = self.conv(f'{name}.conv_cat', head.conv_cat, feature, x)
        self.add(f'{name}.conv_seg', x)
