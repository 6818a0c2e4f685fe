"""Cityscapes, read from the files as they are distributed."""

from pathlib import Path

from mmseg_fastscnn.datasets.pairs import DataPrefix, files_below
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.registry import DATASETS
from mmseg_fastscnn.structures import IGNORED

# name, labelId, colour; the position is the trainId
CLASSES = [
    ('road', 7, (128, 64, 128)),
    ('sidewalk', 8, (244, 35, 232)),
    ('building', 11, (70, 70, 70)),
    ('wall', 12, (102, 102, 156)),
    ('fence', 13, (190, 153, 153)),
    ('pole', 17, (153, 153, 153)),
    ('traffic light', 19, (250, 170, 30)),
    ('traffic sign', 20, (220, 220, 0)),
    ('vegetation', 21, (107, 142, 35)),
    ('terrain', 22, (152, 251, 152)),
    ('sky', 23, (70, 130, 180)),
    ('person', 24, (220, 20, 60)),
    ('rider', 25, (255, 0, 0)),
    ('car', 26, (0, 0, 142)),
    ('truck', 27, (0, 0, 70)),
    ('bus', 28, (0, 60, 100)),
    ('train', 31, (0, 80, 100)),
    ('motorcycle', 32, (0, 0, 230)),
    ('bicycle', 33, (119, 11, 32)),
]
LABEL_IDS = dict.fromkeys(range(34), IGNORED)
LABEL_IDS |= {label_id: k for k, (_, label_id, _) in enumerate(CLASSES)}
RAW_SUFFIX, TRAIN_SUFFIX = '_gtFine_labelIds.png', '_gtFine_labelTrainIds.png'


@DATASETS.register_module()
class CityscapesDataset(SegDataset):
    """`leftImg8bit` and `gtFine` below `data_root`; 19 classes.

    Labels are `*_gtFine_labelIds.png`, mapped while loading, so no converter has to
    run. Where a folder has only `*_gtFine_labelTrainIds.png`, these are read.
    """

    METAINFO = dict(
        classes=tuple(name for name, _, _ in CLASSES),
        palette=[colour for _, _, colour in CLASSES],
    )
    IMG_SUFFIX = '_leftImg8bit.png'

    def __init__(
        self,
        data_root: str = 'data/cityscapes',
        data_prefix: DataPrefix = dict(  # noqa: B006
            img_path='leftImg8bit/train', seg_map_path='gtFine/train'
        ),
        seg_map_suffix: str | None = None,
        **kwargs,
    ):
        if seg_map_suffix is None:
            labels = Path(data_root, data_prefix.get('seg_map_path') or '')
            seg_map_suffix = RAW_SUFFIX
            if has_file(labels, TRAIN_SUFFIX) and not has_file(labels, RAW_SUFFIX):
                seg_map_suffix = TRAIN_SUFFIX
        if not seg_map_suffix.endswith('TrainIds.png'):
            self.LABEL_MAP = LABEL_IDS
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )


def has_file(folder: Path, suffix: str) -> bool:
    """Whether a file below the folder has the suffix."""
    return any(name.endswith(suffix) for name in files_below(folder))
