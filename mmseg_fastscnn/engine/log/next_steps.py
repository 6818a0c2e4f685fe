"""The last lines of a run: where its best model is, and what to do with it."""

import shlex
from pathlib import Path

from mmengine.hooks import Hook

from mmseg_fastscnn.engine.resume.work_dir import last_checkpoint


def from_here(path: str | Path) -> str:
    """Return a path, relative to the current folder if it is below that."""
    path, here = Path(path).resolve(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


class NextStepsHook(Hook):
    """Say where the best model is, how good it is, and the next two commands."""

    priority = 'LOWEST'  # after the last checkpoint is written

    def after_train(self, runner) -> None:
        info = runner.message_hub.runtime_info
        best, score = info.get('best_ckpt'), info.get('best_score')
        path = best or last_checkpoint(runner.work_dir)
        if path is None or not Path(path).exists():
            return
        what = 'The model'
        if best:  # its name begins with best_mIoU_ or best_ and another score
            score_name = Path(best).name.removeprefix('best_').rpartition('_')[0]
            what = f'The best model, {score_name.rpartition("_")[0]} {score:.2f}'
        path = from_here(path)
        name = shlex.quote(path)
        runner.logger.info(
            f'{what}: {path}\nNext:\n  fastscnn test {name}\n'
            f'  fastscnn predict {name} IMAGE_OR_VIDEO --out predictions'
        )
