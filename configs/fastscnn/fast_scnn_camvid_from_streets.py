"""Fast-SCNN on CamVid, fine-tuned from generated streets instead of from scratch.

Data, schedule and losses are those of `fast_scnn_camvid.py`. It starts from the weights
that come with the package, and learns by AdamW: 66.06 ± 0.27 mIoU on the 101 validation
frames, 69.93 ± 0.47 with ms+flip, over three seeds. docs/recipes.md says what the start
gives, and what Muon has given from it so far.

Run:
    python tools/train.py configs/fastscnn/fast_scnn_camvid_from_streets.py --amp \\
        --seed 0
"""

_base_ = './fast_scnn_camvid.py'

load_from = 'streets'
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=0.01)
)
class_aliases = {  # CamVid's name: the name in the streets, which is Cityscapes'
    'tree': 'vegetation',
    'sign symbol': 'traffic sign',
    'pedestrian': 'person',
    'bicyclist': 'rider',
}
