"""Write a model as a folder that can be published, or publish it on the hub.

The folder holds the weights as safetensors, with the config inside that has no path of
this machine, and a model card.

Example: fastscnn share best_mIoU_iter_4000.pth camvid-model --license cc-by-4.0 \\
    --data 'CamVid, 367 frames' --metrics work_dirs/camvid/metrics.json
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

CARD, PICTURE = 'README.md', 'picture.png'


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('model', help='checkpoint that holds its config')
    parser.add_argument(
        'target',
        metavar='DIR|USER/NAME',
        help='new folder, or with --push a repository',
    )
    parser.add_argument(
        '--license', required=True, help='of the weights, e.g. apache-2.0 or cc-by-4.0'
    )
    parser.add_argument('--data', required=True, help='what it was trained on')
    parser.add_argument('--title', default='Fast-SCNN', help='heading of the card')
    parser.add_argument('--metrics', metavar='FILE', help='metrics.json of its test')
    parser.add_argument('--picture', metavar='IMAGE', help='image to show it on')
    parser.add_argument(
        '--push',
        action='store_true',
        help='publish it on the hub as USER/NAME; needs huggingface_hub and a login',
    )
    args = parser.parse_args(words)
    if not re.fullmatch(r'[a-z0-9][a-z0-9.\-]*', args.license):
        parser.error(
            f'--license is {args.license!r}; give an identifier, e.g. apache-2.0.'
        )
    if args.push and not re.fullmatch(r'[\w.\-]+/[\w.\-]+', args.target):
        parser.error(f'--push publishes as USER/NAME, not as {args.target!r}.')
    return args


def main(args: Namespace) -> None:
    import tempfile

    if not args.push:
        write_folder(args, Path(args.target))
        print(f"To load it: FastSCNN.from_pretrained('{args.target}')")
        return
    from mmseg_fastscnn.packages import needed

    api = needed('huggingface_hub', '--push').HfApi()
    with tempfile.TemporaryDirectory() as folder:
        write_folder(args, Path(folder, 'model'))
        api.create_repo(args.target, exist_ok=True)
        api.upload_folder(repo_id=args.target, folder_path=Path(folder, 'model'))
    print(f"Published. To load it: FastSCNN.from_pretrained('{args.target}')")


def read_metrics(path: Path) -> dict:
    """Read the scores of a model's test.

    Raises:
        ValueError: The file is not one that `fastscnn test` wrote.
    """
    from mmseg_fastscnn.results import is_ours

    metrics = None
    if path.suffix == '.json' and is_ours(path):
        metrics = json.loads(path.read_bytes())
    # other results of ours are lists, or have no scores of classes
    if not isinstance(metrics, dict) or not metrics.get('per_class'):
        raise ValueError(f'{path} holds no scores; name what fastscnn test wrote.')
    return metrics


def write_folder(args: Namespace, folder: Path) -> None:
    """Write weights, card and picture to a new folder.

    Raises:
        FileExistsError: The folder is there already.
        ValueError: The checkpoint holds no config, or a file cannot be read.
    """
    from mmseg_fastscnn.apis.fast_scnn import PUBLISHED, FastSCNN
    from mmseg_fastscnn.checkpoint import read_checkpoint, write_weights
    from mmseg_fastscnn.config.publishable import without_paths
    from mmseg_fastscnn.file_hash import file_hash
    from mmseg_fastscnn.report.model_card import model_card
    from mmseg_fastscnn.writing import write_file

    if folder.exists():
        raise FileExistsError(f'{folder} exists; remove it, or name a new folder.')
    metrics = read_metrics(Path(args.metrics)) if args.metrics else None
    model = FastSCNN.load(args.model, device='cpu')  # so it can be loaded again
    shown = model(args.picture) if args.picture else None
    if metrics and tuple(metrics['per_class']) != model.classes:
        raise ValueError(
            f'{args.metrics} is of other classes than {args.model}: '
            f'{", ".join(metrics["per_class"])}.'
        )
    content = read_checkpoint(args.model)
    meta = content['meta']
    meta['cfg'] = without_paths(meta['cfg'], f'The config in {args.model}')
    folder.mkdir(parents=True)
    weights = write_weights(folder / PUBLISHED, content)
    if shown is not None:
        shown.save(folder / PICTURE)
    facts = dict(
        license=args.license,
        title=args.title,
        data=args.data,
        source=args.target if args.push else folder.name,
        parameters=sum(t.numel() for t in content['state_dict'].values()) / 1e6,
        class_names=model.classes,
        sha256=file_hash(weights),
        picture=shown is not None,
    )
    write_file(folder / CARD, model_card(facts, metrics).encode())
    print(f'Written: {folder}')
