"""Check a data set before training: `check_dataset.py CONFIG|FOLDER`."""

from mmseg_fastscnn.commands.check_dataset import main
from mmseg_fastscnn.commands.entrance import run_command

if __name__ == '__main__':
    run_command(main)
