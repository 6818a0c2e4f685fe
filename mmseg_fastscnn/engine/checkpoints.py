"""When checkpoints are written, and how: whole, before older ones are removed.

    iter_20.pth        every `interval`; also in between, on a signal or by the clock
    last_checkpoint    a line of text with the path of the last of these
    best_mIoU_iter_20.pth   another name of iter_20.pth, or a copy of it

A checkpoint is written before a validation and again after it, with the scores, so that
neither a validation that fails nor a kill within it loses the training before.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook

from mmseg_fastscnn.checkpoint import read_checkpoint, write_weights
from mmseg_fastscnn.engine.best_scores import BestScores
from mmseg_fastscnn.engine.disk import (
    WHOLE_FILES,
    NotFinite,
    checkpoint_size,
    compare_with_disk,
    not_finite,
    write_patiently,
)
from mmseg_fastscnn.registry import HOOKS
from mmseg_fastscnn.writing import remove_drafts, second_name, write_file

POINTER = 'last_checkpoint'


def checkpoint_folder(work_dir: str, out_dir: str | None) -> Path:
    """Return where a run keeps its checkpoints.

    Args:
        work_dir: The run's folder.
        out_dir: See `CheckpointHook`.
    """
    work_dir = Path(work_dir)
    if out_dir is None or Path(out_dir).absolute() == work_dir.absolute():
        return work_dir
    return Path(out_dir, work_dir.absolute().name)


def checkpoint_hook(runner) -> 'CheckpointHook | None':
    """Return the hook that writes a run's checkpoints, if it has one."""
    hooks = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    return next(hooks, None)


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Write checkpoints during training; options and names are mmengine's.

    Args:
        interval: Every how many epochs or iterations one is written; -1 for never.
        by_epoch: Whether `interval` counts epochs.
        save_optimizer: Whether they have the state of the optimizer.
        save_param_scheduler: Whether they have the state of the schedulers.
        out_dir: Folder in which the checkpoints get a folder named as the work dir; by
            default they are in the work dir.
        max_keep_ckpts: How many are kept besides the best; -1 for all.
        save_last: Whether one is written at the end of training.
        save_best: Names of the scores whose best checkpoint is kept; 'auto' is the
            first score of the validation.
        rule: 'greater' or 'less', for all scores or one for each: which is better. By
            default a lower one is if its name has "loss" in it, else a higher one.
        filename_tmpl: Names of the files, with `{}` for the epoch or iteration.
        published_keys: If given, weights and meta data of the last and the best
            checkpoint are also written to files named by their sha256, after training.
        save_begin: Epoch or iteration from which on `interval` counts.
        retry_minutes: How long training waits, and tries again, where the disk refuses.
            The other processes wait too, and after 10 minutes NCCL gives up on them.
    """

    priority = 'VERY_LOW'  # after hooks that change the state, as EMAHook

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        save_best: str | list[str] | None = None,
        rule: str | list[str] | None = None,
        filename_tmpl: str | None = None,
        published_keys: str | list[str] | None = None,
        save_begin: int = 0,
        retry_minutes: float = 8,
    ):
        self.interval = interval
        self.by_epoch = by_epoch
        self.parts = dict(
            save_optimizer=save_optimizer, save_param_scheduler=save_param_scheduler
        )
        self.out_dir = out_dir
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.best = BestScores(save_best, rule)
        self.template = filename_tmpl or ('epoch_{}.pth' if by_epoch else 'iter_{}.pth')
        self.publishes = bool(published_keys)
        self.save_begin = save_begin
        self.retry_minutes = retry_minutes
        self.last: tuple[int, int | str] | None = None  # iteration, key of the file
        self.written = time.monotonic()

    def folder(self, runner) -> Path:
        return checkpoint_folder(runner.work_dir, self.out_dir)

    def name(self, key: int | str) -> str:
        """Return the file of an entry of `keep_ckpt_ids`: a count, or a name."""
        return key if isinstance(key, str) else self.template.format(key)

    def before_train(self, runner) -> None:
        folder, info = self.folder(runner), runner.message_hub.runtime_info
        self.kept: list[int | str] = list(info.get('keep_ckpt_ids', []))
        start = Path(runner.cfg.get('load_from') or '').name
        if runner.resumes and self.kept and self.name(self.kept[-1]) == start:
            self.last = runner.iter, self.kept[-1]
        if is_main_process():
            folder.mkdir(parents=True, exist_ok=True)
            names = self.template.replace('.', r'\.').format(r'\d+')
            remove_drafts(folder, rf'(best_.+_)?({names}|iter_\d+\.pth)')
            remove_drafts(Path(runner.work_dir), POINTER)
            self._remove_old(runner)
            size = checkpoint_size(runner)
            compare_with_disk(self._to_come(runner), size, folder, runner.logger)

    def _to_come(self, runner) -> int:
        """Return how many more checkpoints a run may write, at most."""
        count = self.max_keep_ckpts + 1  # an old one goes after the new one is there
        if self.max_keep_ckpts < 1:
            length = runner.max_epochs if self.by_epoch else runner.max_iters
            count = ceil(length / self.interval) if self.interval > 0 else 1
        folder = self.folder(runner)
        there = sum((folder / self.name(key)).exists() for key in self.kept)
        return count + len(self.best.names) - there

    def after_train_iter(self, runner, batch_idx: int, **kwargs) -> None:
        due = self.every_n_train_iters(runner, self.interval, self.save_begin)
        last = self.save_last and self.is_last_train_iter(runner)
        if not self.by_epoch and (due or last):
            self.save(runner)

    def after_train_epoch(self, runner) -> None:
        due = self.every_n_epochs(runner, self.interval, self.save_begin)
        last = self.save_last and self.is_last_train_epoch(runner)
        if self.by_epoch and (due or last):
            epoch = runner.epoch + 1
            self._save(runner, epoch, dict(epoch=epoch, iter=runner.iter))

    def save(self, runner) -> None:
        """Write the state after an iteration, if it is not written yet."""
        count = runner.iter + 1
        if self.last is None or self.last[0] != count:
            key = f'iter_{count}.pth' if self.by_epoch else count
            self._save(runner, key, dict(epoch=runner.epoch, iter=count))

    def _save(self, runner, key: int | str, meta: dict) -> None:
        """Write a checkpoint, then the pointer, then remove what is too old."""
        before = list(self.kept)
        self.kept = [k for k in self.kept if k != key] + [key]
        runner.message_hub.update_info('keep_ckpt_ids', self.kept)
        if self._write(runner, [self.name(key)], meta):
            self.last = meta['iter'], key
            self._persist(runner, lambda: self._point_to_last(runner))
        else:
            self.kept = before
            runner.message_hub.update_info('keep_ckpt_ids', before)
        self.written = time.monotonic()

    def _point_to_last(self, runner) -> None:
        last = self.folder(runner) / self.name(self.last[1])
        write_file(Path(runner.work_dir, POINTER), str(last).encode())
        self._remove_old(runner)

    def _remove_old(self, runner) -> None:
        while 0 < self.max_keep_ckpts < len(self.kept):
            (self.folder(runner) / self.name(self.kept[0])).unlink(missing_ok=True)
            self.kept = self.kept[1:]

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Write the scores into the last checkpoint, and the best ones."""
        hub, names = runner.message_hub, []
        before = {k: v for k, v in hub.runtime_info.items() if k.startswith('best_')}
        count = runner.epoch if self.by_epoch else runner.iter
        if self.last is not None and self.last[0] == runner.iter:
            names.append(self.name(self.last[1]))
        for key, suffix in self.best.better(before, metrics or {}):
            best = f'best_{key}_{self.template.format(count)}'.replace('/', '_')
            hub.update_info(f'best_score{suffix}', float(metrics[key]))
            hub.update_info(f'best_ckpt{suffix}', str(self.folder(runner) / best))
            names.append(best)
            runner.logger.info('The best %s so far: %.4f, %s.', key, metrics[key], best)
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        if names and not self._write(runner, names, meta):
            for key in [k for k in hub.runtime_info if k.startswith('best_')]:
                del hub.runtime_info[key]
            hub.runtime_info.update(before)
            return
        for key, old in before.items():
            if 'best_ckpt' in key and hub.get_info(key) != old and is_main_process():
                (self.folder(runner) / Path(old).name).unlink(missing_ok=True)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        bad = not_finite(checkpoint)
        if bad:
            raise NotFinite(
                f'{len(bad)} tensors of the weights have values that are not finite '
                f'({bad[0]}, ...)'
            )

    def _write(self, runner, names: list[str], meta: dict) -> bool:
        """Write a file of one or more names; return whether the weights are finite."""
        folder = self.folder(runner)

        def write() -> None:
            runner.save_checkpoint(
                *(str(folder), names[0]),
                **dict(meta=dict(meta), by_epoch=False, backend_args=WHOLE_FILES),
                **self.parts,
            )
            for name in names[1:]:
                second_name(folder / names[0], folder / name)

        runner.gather_rank_states()  # in which all processes take part
        finite = True
        try:
            self._persist(runner, write)
        except NotFinite as error:
            finite = False
            last = self.name(self.last[1]) if self.last else 'none of this run'
            # mmengine's logger drops a warning of the same text, without its arguments
            runner.logger.warning(
                f'{names[0]} is not written: {error}. The last checkpoint of finite '
                f'weights is {last}. Go on from there with a lower learning rate.'
            )
        runner.rank_states = None
        answer = [finite]
        broadcast_object_list(answer)  # so that all processes know what is written
        return answer[0]

    def _persist(self, runner, action: Callable[[], None]) -> None:
        """Write to the disk in the first process; where it refuses, wait and repeat."""
        if is_main_process():
            write_patiently(action, self.retry_minutes, runner.logger)

    def after_train(self, runner) -> None:
        if not (self.publishes and is_main_process()):
            return
        info, folder = runner.message_hub.runtime_info, self.folder(runner)
        paths = [Path(v) for k, v in info.items() if k.startswith('best_ckpt')]
        if self.save_last and self.last is not None:
            paths.append(folder / self.name(self.last[1]))
        for path in paths:
            published = path.with_name(f'{path.stem}-{{hash}}.pth')
            with suppress(FileExistsError):  # published before, by its hash
                published = write_weights(published, read_checkpoint(path))
                runner.logger.info('Published: %s', published)
