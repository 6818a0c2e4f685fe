"""Say which IoU the grid of the logits allows, whatever the network.

    .venv/bin/python benchmarks/grid.py fast_scnn_camvid.py --data-root data/camvid

Each class's share of the pixels of a cell is taken for its score there. The scores are
interpolated to the image's size, as logits are, and the best class of each pixel is
held against its label. Fast-SCNN's cells have 8x8 pixels, CamVid's poles are 3 wide. A
network may do better than this for a class that it gives more than its share.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.deploy.labelled_images import LabelledImages
from mmseg_fastscnn.evaluation import class_ratios, count_pairs
from mmseg_fastscnn.structures import STRIDE


def seen_through_cells(label: Tensor, classes: int, cell: int) -> Tensor:
    """Return the class (H, W) with the largest interpolated share at each pixel.

    Args:
        label: (H, W) int64 train ids; what is no class counts for none.
        classes: Number of classes.
        cell: Pixels of a cell each way.
    """
    height, width = label.shape
    known = F.one_hot(label.clamp(max=classes), classes + 1)[..., :classes]
    padded = F.pad(known.permute(2, 0, 1), (0, -width % cell, 0, -height % cell))
    shares = F.avg_pool2d(padded[None].float(), cell)
    whole = F.interpolate(shares, scale_factor=cell, mode='bilinear')
    return whole[0, :, :height, :width].argmax(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('--data-root')
    parser.add_argument('--cells', type=int, nargs='+', default=[STRIDE, 4, 2])
    args = parser.parse_args()
    config = load_config(args.config, data_root=args.data_root)
    images = LabelledImages(config, 'test_dataloader', 10**9, 'this')
    names = images.dataset.metainfo['classes']
    counts = dict.fromkeys(args.cells, 0)
    for _, label in images:
        label = torch.from_numpy(label).long()
        for cell in args.cells:
            seen = seen_through_cells(label, len(names), cell)
            counts[cell] += count_pairs(label, seen)[: len(names), : len(names)]
    print(f'| cell | mIoU | {" | ".join(names)} |\n{"|---" * (len(names) + 2)}|')
    for cell, pairs in counts.items():
        iou = class_ratios(pairs.double().numpy())[0]['IoU']
        shown = ' | '.join(f'{value:.1f}' for value in [iou[iou == iou].mean(), *iou])
        print(f'| {cell} | {shown} |')


if __name__ == '__main__':
    main()
