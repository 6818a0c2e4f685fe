"""CamVid in the 11-class form of the SegNet tutorial."""

from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.registry import DATASETS
from mmseg_fastscnn.structures import IGNORED


@DATASETS.register_module()
class CamVidDataset(SegDataset):
    """`train`, `val`, `test` and, for labels, `trainannot`, ... below `data_root`.

    Frames are 480x360. Label ids are 0 to 10; 11 is unlabelled and ignored. Colours
    are those of the data set's own colour files.
    """

    METAINFO = dict(
        classes=(
            'sky',
            'building',
            'pole',
            'road',
            'sidewalk',
            'tree',
            'sign symbol',
            'fence',
            'car',
            'pedestrian',
            'bicyclist',
        ),
        palette=[
            (128, 128, 128),
            (128, 0, 0),
            (192, 192, 128),
            (128, 64, 128),
            (0, 0, 192),
            (128, 128, 0),
            (192, 128, 128),
            (64, 64, 128),
            (64, 0, 128),
            (64, 64, 0),
            (0, 128, 192),
        ],
    )
    LABEL_MAP = {**{k: k for k in range(11)}, 11: IGNORED}
