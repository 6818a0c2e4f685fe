"""`fastscnn browse_dataset`, by the name that mmsegmentation's users look for."""

from mmseg_fastscnn.commands import run

if __name__ == '__main__':
    run('browse_dataset')
