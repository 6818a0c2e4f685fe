"""Fast-SCNN on CamVid, fine-tuned from generated streets instead of from scratch.

Data, schedule and learning rate are those of `fast_scnn_camvid.py`. It starts from the
weights that come with the package; docs/recipes.md says what they gain, over three
seeds. From the weights of `make demo` (`--load-from work_dirs/demo/iter_720.pth`) one
run gave 60.08 mIoU, 62.45 with ms+flip.

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
