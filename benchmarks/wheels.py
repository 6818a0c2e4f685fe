"""Write the folder of wheels that a machine without internet needs for `gpu.py`.

    python benchmarks/wheels.py wheels     # where there is internet; carry the folder
    PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels pip install mmengine mmcv-lite ...
    PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels python benchmarks/gpu.py

torch, NumPy, OpenCV, Matplotlib and PyYAML are that machine's own. Both machines should
have the same version of Python, since some wheels are for one.
"""

import subprocess
import sys

from compare_mmseg import PEER

# what this project needs beside these
OURS = ['mmengine==0.10.7', 'mmcv-lite==2.2.0', 'addict', 'termcolor', 'yapf']
OURS += ['platformdirs', 'rich', 'markdown-it-py', 'mdurl', 'pygments', 'safetensors']


def main(folder: str) -> None:
    pip = [sys.executable, '-m', 'pip']
    for packages in (OURS, PEER):  # apart, since both name mmcv-lite
        # a wheel is also made of what has none, so that nothing is built over there
        subprocess.run(
            [*pip, 'wheel', '--no-deps', '-w', folder, *packages], check=True
        )


if __name__ == '__main__':
    main(*sys.argv[1:])
