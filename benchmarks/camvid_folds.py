"""Part CamVid's training frames by drive, to choose a recipe by drives it has not seen.

    .venv/bin/python benchmarks/camvid_folds.py data/camvid work_dirs/folds
    fastscnn sweep CONFIG... --folds work_dirs/folds/*.txt -- --data-root data/camvid

The 101 validation frames are of the same drive as 204 of the 367 training frames, so
they say little about other streets, and a recipe must not be chosen by the frames that
are reported. Each fold leaves one of the three drives out of training, and validates on
its frames.
"""

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', type=Path, help='folder with train and trainannot')
    parser.add_argument('out', type=Path, help='folder for the folds')
    args = parser.parse_args()
    names = sorted(path.stem for path in (args.data / 'train').glob('*.png'))
    if not names:
        parser.error(f'{args.data}/train has no PNG files.')
    args.out.mkdir(parents=True, exist_ok=True)
    for drive in sorted({drive_of(name) for name in names}):
        own = [name for name in names if drive_of(name) == drive]
        others = [name for name in names if drive_of(name) != drive]
        splits = {}
        for kind, part in (('train', others), ('val', own)):
            splits[kind] = (args.out / f'{drive}_{kind}.list').resolve()
            splits[kind].write_text('\n'.join(part) + '\n')
        (args.out / f'without_{drive}.txt').write_text(
            f'train_dataloader.dataset.ann_file={splits["train"]}\n'
            f'val_dataloader.dataset.ann_file={splits["val"]}\n'
            'val_dataloader.dataset.data_prefix.img_path=train\n'
            'val_dataloader.dataset.data_prefix.seg_map_path=trainannot\n'
        )
        print(f'without {drive}: {len(others)} frames to train, {len(own)} to validate')


def drive_of(name: str) -> str:
    return name.split('_')[0]


if __name__ == '__main__':
    main()
