"""Fast-SCNN on CamVid, fine-tuned from generated streets instead of from scratch.

60.08 mIoU, 62.45 with ms+flip. Data, schedule and learning rate are those of
`fast_scnn_camvid.py`, so that the two curves in README.md differ only by the weights
from which they start. `make demo` trains these.

Run:
    python tools/train.py configs/fastscnn/fast_scnn_camvid_from_streets.py --amp \\
        --seed 0 --load-from work_dirs/demo/iter_720.pth
"""

_base_ = './fast_scnn_camvid.py'

class_aliases = {  # CamVid's name: the name in the streets, which is Cityscapes'
    'tree': 'vegetation',
    'sign symbol': 'traffic sign',
    'pedestrian': 'person',
    'bicyclist': 'rider',
}
