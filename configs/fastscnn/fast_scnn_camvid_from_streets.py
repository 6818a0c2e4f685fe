"""Fast-SCNN on CamVid, fine-tuned from generated streets instead of from scratch.

Data, schedule and learning rate are those of `fast_scnn_camvid.py`. It starts from the
weights that come with the package: 65.01 ± 0.53 mIoU on the 101 validation frames,
68.35 ± 0.27 with ms+flip, over three seeds. docs/recipes.md has shorter runs, too.

Run:
    python tools/train.py configs/fastscnn/fast_scnn_camvid_from_streets.py --amp \\
        --seed 0
"""

_base_ = './fast_scnn_camvid.py'

load_from = 'streets'
class_aliases = {  # CamVid's name: the name in the streets, which is Cityscapes'
    'tree': 'vegetation',
    'sign symbol': 'traffic sign',
    'pedestrian': 'person',
    'bicyclist': 'rider',
}
