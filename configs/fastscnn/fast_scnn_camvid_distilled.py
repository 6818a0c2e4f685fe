"""Fast-SCNN on CamVid, learning from a teacher's soft labels beside the labels.

docs/training.md, "Distillation", says how soft labels are written, docs/recipes.md what
this gave: nothing in up to 1,200 iterations. All else is as in `fast_scnn_camvid.py`.

Run:
    python tools/soft_labels.py TEACHER configs/fastscnn/fast_scnn_camvid.py \\
        --out work_dirs/soft_labels
    python tools/train.py configs/fastscnn/fast_scnn_camvid_distilled.py --amp --seed 0
"""

_base_ = './fast_scnn_camvid.py'

train_dataloader = dict(dataset=dict(soft_labels='work_dirs/soft_labels'))
model = dict(
    decode_head=dict(
        loss_decode=[
            dict(
                type='CrossEntropyLoss',
                avg_non_ignore=True,
                class_weight='fourth_root',
            ),
            dict(type='DistillationLoss'),
        ]
    )
)
