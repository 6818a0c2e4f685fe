"""A hook that writes the report of a run again after each validation."""

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmseg_fastscnn.engine.log.next_steps import from_here
from mmseg_fastscnn.report.run_page import NAME, write_report


class ReportHook(Hook):
    """Keep `report.html` up to date; training goes on whatever happens to it."""

    priority = 'LOWEST'  # after the record and the checkpoint of the validation

    def before_train(self, runner) -> None:
        page = from_here(Path(runner.work_dir, NAME))
        runner.logger.info(f'Written after each validation, for a browser: {page}')

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        self._write(runner)

    def after_train(self, runner) -> None:
        self._write(runner)  # with the lines and files since the last validation
        page = from_here(Path(runner.work_dir, NAME))
        runner.logger.info(f'Curves, classes and the worst images: {page}')

    def _write(self, runner) -> None:
        if not is_main_process():
            return
        try:
            write_report(runner.work_dir)
        except Exception as error:  # a report is worth no run
            runner.logger.warning(
                f'The report was not written ({type(error).__name__}: {error}). '
                f'Training goes on; `fastscnn report {runner.work_dir}` makes it again.'
            )
