"""Write the folder of wheels that a machine without internet needs for `gpu.py`.

    python benchmarks/wheels.py wheels 3.12  # where there is internet; carry the folder

    pip install --no-index --no-deps --target site wheels/ours/*
    export PYTHONPATH=$PWD/site PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels
    python benchmarks/gpu.py

torch, NumPy, OpenCV, Matplotlib and PyYAML are that machine's own. 3.12 is its version
of Python; its processor and system must be like this machine's. Without `--no-deps` pip
would want opencv-python also where its headless form is.
"""

import subprocess
import sys

from compare_mmseg import PEER

# what this project needs beside these
OURS = ['mmengine==0.10.7', 'mmcv-lite==2.2.0', 'addict', 'termcolor', 'yapf']
OURS += ['platformdirs', 'rich', 'markdown-it-py', 'mdurl', 'pygments', 'safetensors']
BINARY = ('regex', 'scipy')  # whose wheels are for one version of Python


def main(folder: str, python: str) -> None:
    pip = [sys.executable, '-m', 'pip']
    pure = [package for package in PEER if package not in BINARY]
    # ours are apart: the peer's mmengine is another package of the same name
    for place, packages in ((f'{folder}/ours', OURS), (folder, pure)):
        # a wheel is also made of what has none, so that nothing is built over there
        subprocess.run([*pip, 'wheel', '--no-deps', '-w', place, *packages], check=True)
    others = ['--only-binary=:all:', '--python-version', python]
    subprocess.run(
        [*pip, 'download', '--no-deps', *others, '-d', folder, *BINARY], check=True
    )


if __name__ == '__main__':
    main(*sys.argv[1:])
