"""Steps of mmsegmentation that do not exist here, and what does the same.

Those that exist have their own name here; see `datasets/__init__.py` for ours, and
mmcv's documentation for `RandomResize`, `RandomChoiceResize`, `RandomApply`, ...
"""

from mmseg_fastscnn.registry import COUNTERPARTS

ALBU = 'use Albu with transforms of albumentations, '
VOLUMES = 'volumes of medical scans are not read here; save their slices as images'
PAIRS = 'pairs of images, as for change detection, are not read here'
DEPTH = 'depth maps are not read here; remove it'
BANDS = (
    "use LoadImageFromFile(color_type='unchanged'), with imdecode_backend='tifffile' "
    'for TIFF files of many channels'
)

COUNTERPARTS |= {
    'AdjustGamma': (
        f"{ALBU}dict(type='RandomGamma', gamma_limit=(100 / gamma, 100 / gamma), p=1.0)"
    ),
    'BioMedical3DPad': VOLUMES,
    'BioMedical3DRandomCrop': f'{VOLUMES}, and use RandomCrop',
    'BioMedical3DRandomFlip': f'{VOLUMES}, and use RandomFlip',
    'BioMedicalGaussianBlur': f"{ALBU}dict(type='GaussianBlur', p=0.5)",
    'BioMedicalGaussianNoise': f"{ALBU}dict(type='GaussNoise', p=0.5)",
    'BioMedicalRandomGamma': f"{ALBU}dict(type='RandomGamma', p=0.5)",
    'CLAHE': f"{ALBU}dict(type='CLAHE', p=1.0)",
    'ConcatCDInput': PAIRS,
    'GenerateEdge': 'no head of Fast-SCNN learns edges; remove it',
    'LoadBiomedicalAnnotation': f'{VOLUMES}, and use LoadAnnotations',
    'LoadBiomedicalData': f'{VOLUMES}, and use LoadImageFromFile and LoadAnnotations',
    'LoadBiomedicalImageFromFile': f'{VOLUMES}, and use LoadImageFromFile',
    'LoadDepthAnnotation': DEPTH,
    'LoadImageFromNDArray': 'inference_model takes arrays (H, W, 3) as they are',
    'LoadMultipleRSImageFromFile': f'{PAIRS}; for one image {BANDS}',
    'LoadOneDLAnnotations': 'use LoadAnnotations, on label images',
    'LoadSingleRSImageFromFile': BANDS,
    'MultiScaleFlipAug': (  # mmcv has it, for packing steps that are not here
        'use TestTimeAug, as tta_pipeline in configs/_base_/datasets/cityscapes.py does'
    ),
    'RandomDepthMix': DEPTH,
    'RandomMosaic': 'it has no counterpart; RandomResize and RandomCrop vary the scene',
    'RandomRotFlip': (
        "use RandomFlip, also with direction=['horizontal', 'vertical'], and "
        'RandomRotate'
    ),
    'Rerange': (
        'use mean and std of model.data_preprocessor, which bring the values to any '
        'range'
    ),
    'ResizeShortestEdge': (
        'use Resize(scale=(longest, shortest), keep_ratio=True), which keeps to both'
    ),
    'ResizeToMultiple': (
        'use model.data_preprocessor.test_cfg=dict(size_divisor=32), or '
        'Pad(size_divisor=32) in the test pipeline; the padding is cut off again'
    ),
    'RGB2Gray': 'use RandomGrayscale(prob=1.0, keep_channels=True)',
    'SegRescale': 'labels stay at their own size here; remove it',
}
