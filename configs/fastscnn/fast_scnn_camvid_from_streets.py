"""Fast-SCNN on CamVid, fine-tuned from generated streets instead of from scratch.

Data and schedule are those of `fast_scnn_camvid.py`. It starts from the weights that
come with the package, and learns at twice the rate with light class weights: 66.06 ±
0.27 mIoU on the 101 validation frames, 69.93 ± 0.47 with ms+flip, over three seeds.
docs/recipes.md says what each of the three gives.

Run:
    python tools/train.py configs/fastscnn/fast_scnn_camvid_from_streets.py --amp \\
        --seed 0
"""

_base_ = './fast_scnn_camvid.py'

load_from = 'streets'
optim_wrapper = dict(optimizer=dict(lr=4e-3))
model = dict(decode_head=dict(loss_decode=dict(class_weight='fourth_root')))
class_aliases = {  # CamVid's name: the name in the streets, which is Cityscapes'
    'tree': 'vegetation',
    'sign symbol': 'traffic sign',
    'pedestrian': 'person',
    'bicyclist': 'rider',
}
