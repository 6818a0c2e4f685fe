"""Table the networks of a sweep: mIoU against milliseconds and parameters.

    fastscnn sweep fast_scnn_camvid.py --grid model.width=0.5,0.75,1,1.5,2 \
        --out work_dirs/family
    .venv/bin/python benchmarks/pareto.py work_dirs/family

mIoU is that of the sweep, with mean and standard deviation over its seeds. Milliseconds
are the median from a frame in memory to its labels, batch 1, float32, on the CPU and
the test images of the runs, with mean and standard deviation over rounds; networks are
timed in turn. The first run of each recipe is timed: in OpenVINO, or else onnxruntime,
or else PyTorch, by what is installed. Time depends on the weights a little: where
scores are smooth, fewer of them are computed. A recipe is on the front if no other is
as fast and as good or more.

The table is printed, and written to `pareto.md` in the folder of the sweep.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.commands.benchmark import image_paths
from mmseg_fastscnn.commands.get_flops import count
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.export import PACKAGES, export
from mmseg_fastscnn.deploy.speed import frame_seconds
from mmseg_fastscnn.deploy.torch_runtime import describe
from mmseg_fastscnn.engine.resume.work_dir import last_checkpoint
from mmseg_fastscnn.report.comparison import Spread, spread_of
from mmseg_fastscnn.report.sweep_table import NUMBERS, of_seeds

OUTPUTS = {'.xml': 'logits', '.onnx': 'labels'}  # the fastest of each, see README.md
NAMES = {'.xml': 'OpenVINO', '.onnx': 'onnxruntime', '.pth': 'PyTorch'}


@dataclass
class Recipe:
    """A recipe of the sweep.

    Attributes:
        name: Its name.
        facts: What the sweep says of each of its runs.
        model: The network of one of them.
        file: What is timed.
        rounds: The milliseconds that were measured.
    """

    name: str
    facts: list[dict]
    model: nn.Module
    file: Path
    rounds: list[float] = field(default_factory=list)

    @property
    def miou(self) -> Spread:
        folds = list({fact['fold'] for fact in self.facts})
        seeds = of_seeds(self.facts, self.name, folds)
        return spread_of([seed['miou'] for seed in seeds.values()])

    @property
    def milliseconds(self) -> Spread:
        return spread_of(self.rounds)

    @property
    def parameters(self) -> int:
        """Number of parameters of what predicts."""
        parts = count(self.model.cfg.model, (64, 64)).items()
        return sum(n for name, (n, _) in parts if not name.startswith('auxiliary_'))

    def is_beaten_by(self, other: 'Recipe') -> bool:
        ours = (self.milliseconds.mean, -self.miou.mean)
        theirs = (other.milliseconds.mean, -other.miou.mean)
        return theirs != ours and all(t <= o for t, o in zip(theirs, ours, strict=True))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('sweep', type=Path, help='--out of `fastscnn sweep`')
    parser.add_argument('--rounds', type=int, default=5, help='(default: 5)')
    parser.add_argument(
        '--repeat', type=int, default=50, help='images per round (default: 50)'
    )
    parser.add_argument(
        '--format', choices=list(NAMES), help='(default: the first that is installed)'
    )
    parser.add_argument('--threads', type=int, help='of exported files')
    args = parser.parse_args()
    if not (args.sweep / NUMBERS).exists():
        parser.error(f'{args.sweep} has no {NUMBERS}: give the --out of a sweep.')
    return args


def main() -> None:
    args = parse_args()
    suffix = args.format or first_installed()
    with tempfile.TemporaryDirectory() as folder:
        recipes = recipes_of(args.sweep, suffix, Path(folder))
        for recipe in recipes * args.rounds:
            recipe.rounds.append(timed(recipe, args.repeat, args.threads))
    lines = list(table(recipes, NAMES[suffix]))
    (args.sweep / 'pareto.md').write_text('\n'.join(lines) + '\n')
    print('\n'.join(lines))


def first_installed() -> str:
    """Return the suffix of the first kind of file whose packages are installed."""
    return next(
        suffix
        for suffix in NAMES
        if all(find_spec(package) for package in PACKAGES.get(suffix, ()))
    )


def checkpoint_of(sweep: Path, fact: dict) -> Path:
    """Return the last checkpoint of a run, which its mIoU is of."""
    fold = fact['fold'] and f'{fact["fold"]}_'
    folder = sweep / fact['recipe'] / f'{fold}seed_{fact["seed"]}'
    checkpoint = last_checkpoint(folder)
    if checkpoint is None:
        sys.exit(f'{folder} has no checkpoint; the table needs one of each recipe.')
    return checkpoint


def recipes_of(sweep: Path, suffix: str, folder: Path) -> list[Recipe]:
    """Return the recipes of a sweep, with a file of each in a folder."""
    runs = {}
    for fact in json.loads((sweep / NUMBERS).read_bytes()):
        runs.setdefault(fact['recipe'], []).append(fact)
    recipes = []
    for name, facts in runs.items():
        file = checkpoint_of(sweep, facts[0])
        model = init_model(file, device='cpu')
        if suffix in OUTPUTS:
            file = folder / f'{len(recipes)}{suffix}'
            export(model, file, describe(model, OUTPUTS[suffix], 'fp32'))
        recipes.append(Recipe(name, facts, model, file))
    return recipes


def timed(recipe: Recipe, repeat: int, threads: int | None) -> float:
    """Return the median milliseconds from a frame in memory to its labels."""
    predictor = Predictor(recipe.file, device='cpu', threads=threads)
    seconds = frame_seconds(predictor, image_paths(recipe.model.cfg), repeat)
    both = zip(seconds['network'], seconds['upsample and argmax'], strict=True)
    return 1e3 * statistics.median(map(sum, both))


def table(recipes: Sequence[Recipe], runtime: str) -> Iterator[str]:
    """Yield a Markdown table, the fastest network first."""
    yield f'| recipe | parameters | ms, {runtime} | mIoU | runs | front |'
    yield '|---|---|---|---|---|---|'
    for recipe in sorted(recipes, key=lambda recipe: recipe.milliseconds.mean):
        front = not any(recipe.is_beaten_by(other) for other in recipes)
        yield (
            f'| {recipe.name} | {recipe.parameters:,} | {recipe.milliseconds} | '
            f'{recipe.miou} | {len(recipe.facts)} | {"yes" if front else ""} |'
        )


if __name__ == '__main__':
    main()
