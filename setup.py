from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
ABOUT: dict = {}
exec((ROOT / 'mmseg_fastscnn/__init__.py').read_text(encoding='utf-8'), ABOUT)

setup(
    name='mmseg-fastscnn',
    version=ABOUT['__version__'],
    description='Train, evaluate and fine-tune Fast-SCNN from config files',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=[
        *find_packages(include=['mmseg_fastscnn', 'mmseg_fastscnn.*']),
        'mmseg_fastscnn.configs',
    ],
    package_dir={'mmseg_fastscnn.configs': 'configs'},
    package_data={
        'mmseg_fastscnn.configs': ['**/*.py', '**/*.yaml', '**/*.md'],
        'mmseg_fastscnn.checkpoint': ['*.safetensors'],
    },
    entry_points={'console_scripts': ['fastscnn = mmseg_fastscnn.__main__:main']},
    # Ranges, so that nothing a user already has is replaced. torchvision is optional.
    install_requires=[
        'torch>=2.6',
        'mmengine>=0.10.7,<0.11',
        'mmcv-lite>=2.2.0',
        'numpy>=1.24',
        'opencv-python>=4.8',
        'pillow>=9.1',
        'rich>=12',
        'safetensors>=0.4',
        'setuptools; python_version >= "3.12"',  # mmengine imports distutils
    ],
    extras_require={
        'torchvision': ['torchvision'],
        # backends of the log, for `vis_backends` in the config
        'tensorboard': ['tensorboard'],
        'wandb': ['wandb'],
        'mlflow': ['mlflow'],
        'deploy': [
            *('onnx', 'onnxscript', 'onnxruntime>=1.18'),
            *('openvino>=2024.4', 'ncnn', 'pnnx', 'av>=12'),
        ],
        'int8': ['nncf>=3'],  # for OpenVINO; onnxruntime has its own quantiser
        'demo': ['gradio>=6.31,<7', 'av>=12'],  # browsers play the H.264 that av writes
        'hub': ['huggingface_hub'],
        'test': ['pytest', 'pytest-xdist', 'ruff'],
    },
)
