"""The page of the demo, by gradio: image, video and webcam, one or two models."""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from html import escape
from pathlib import Path

from mmseg_fastscnn.deploy.demo import DemoModel, Segmented, Tally
from mmseg_fastscnn.file_kinds import VIDEOS

try:
    import gradio as gr
    from gradio.data_classes import ImageData
except ImportError as error:
    raise ImportError(
        "The demo needs gradio: pip install 'mmseg-fastscnn[demo]', or "
        'pip install gradio av'
    ) from error

MOST_BYTES = 100 * 2**20  # of an upload: minutes of a phone's video
AGE = 600  # seconds after which uploads and results are deleted
SESSIONS = 32  # users whose last image is kept, for the slider
AT_ONCE = 8  # users whose images are decoded and drawn at the same time
# without 'share', which uploads the picture
SHOWN = dict(alt_text='Overlay', buttons=['download', 'fullscreen'])
REAR_CAMERA = dict(video=dict(facingMode=dict(ideal='environment')))
PROGRESS = gr.Progress()  # gradio fills it in
CSS = """
.facts table {width: 100%; table-layout: fixed; border-collapse: collapse}
.facts table, .facts tr {border: 0 !important}
.facts td, .facts th {padding: .3em; border: 0; text-align: left;
  overflow-wrap: anywhere; border-bottom: 1px solid var(--border-color-primary)}
.facts td + td, .facts th + th {width: 7em; text-align: right}
.facts i {display: inline-block; width: 1em; height: 1em; margin-right: .5em;
  border: 1px solid var(--border-color-primary); vertical-align: -.1em}
"""


def picture(**options) -> gr.Image:
    """Return a field for images that gives their name and bytes as they are.

    gradio's own reading turns images by EXIF and writes them anew.
    """
    field = gr.Image(**options)
    field.preprocess = uploaded  # gradio writes a .pyi file for a subclass
    return field


def uploaded(payload: ImageData | None) -> tuple[str, bytes] | None:
    """Return the name and the content of what is in such a field."""
    if payload is None:
        return None
    if payload.url and payload.url.startswith('data:'):  # a frame of the webcam
        return 'The frame', base64.b64decode(payload.url.partition(',')[2])
    path = Path(payload.path)  # below the folder of uploads, as gradio has checked
    return Path(payload.orig_name or path).name, path.read_bytes()


class DemoPage:
    """The page, and what it does on each event.

    Args:
        models: One or two models.
        folder: Where uploads and results are kept for a while.
    """

    def __init__(self, models: Sequence[DemoModel], folder: Path):
        self.models = models
        self.folder = folder

    def build(self) -> gr.Blocks:
        """Return gradio's page, which is not served yet."""
        with gr.Blocks(
            title='Fast-SCNN',
            analytics_enabled=False,  # or else it also looks for newer versions
            delete_cache=(AGE // 10, AGE),
        ) as page:
            opacity = gr.Slider(0, 1, 0.5, step=0.05, label='Opacity of the colours')
            with gr.Tab('Image'):
                self._image_tab(opacity)
            with gr.Tab('Video'):
                self._video_tab(opacity)
            with gr.Tab('Webcam'):
                self._webcam_tab(opacity)
        return page.queue(default_concurrency_limit=AT_ONCE)

    def launch(self, host: str, port: int) -> gr.Blocks:
        """Serve the page in a thread; return it, which has `local_url` and `close`."""
        page = self.build()
        page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            max_file_size=MOST_BYTES,
            state_session_capacity=SESSIONS,
            run_history=False,
            footer_links=[],
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            css=CSS,
        )
        return page

    def _image_tab(self, opacity: gr.Slider) -> None:
        given = picture(label='Image', sources=['upload', 'clipboard'], height=240)
        seen = gr.State(time_to_live=AGE)
        shown = self._columns(gr.Image, format='png', **SHOWN)
        done = given.input(
            self.image,
            [given, opacity],
            [seen, *shown],
            show_progress_on=shown[::2],
            api_name='image',
        )
        done.failure(self.nothing, None, [seen, *shown], api_visibility='private')
        opacity.input(
            self.redraw,
            [seen, opacity],
            shown,
            trigger_mode='always_last',
            show_progress='hidden',
            api_visibility='private',
        )

    def _video_tab(self, opacity: gr.Slider) -> None:
        # not gr.Video, which fetches a program to cut videos from elsewhere
        given = gr.File(label='Video', file_types=[*VIDEOS], height=120)
        button = gr.Button('Segment', variant='primary')
        shown = self._columns(gr.Video, buttons=['download'])
        given.change(lambda: [None] * len(shown), None, shown, api_visibility='private')
        button.click(
            self.video,
            [given, opacity],
            shown,
            concurrency_limit=1,
            show_progress_on=shown[::2],
            api_name='video',
        )

    def _webcam_tab(self, opacity: gr.Slider) -> None:
        given = picture(
            label='Webcam',
            sources=['webcam'],
            streaming=True,
            height=240,
            webcam_options=gr.WebcamOptions(mirror=False, constraints=REAR_CAMERA),
        )
        shown = self._columns(gr.Image, format='jpeg', **SHOWN)
        given.stream(
            self.frame,
            [given, opacity],
            shown,
            stream_every=0.1,
            show_progress='hidden',
            api_visibility='private',
        )

    def _columns(self, kind: type, **options) -> list:
        """Place what is shown of each model, side by side: a picture, then facts."""
        shown = []
        with gr.Row():
            for model in self.models:
                with gr.Column(min_width=300):
                    label = escape(model.name)
                    shown.append(kind(label=label, interactive=False, **options))
                    shown.append(gr.HTML(elem_classes='facts', padding=False))
        return shown

    def image(self, given: tuple[str, bytes] | None, opacity: float) -> list:
        """Return what is kept and shown of an image that was uploaded or removed."""
        if given is None:
            return self.nothing()
        with told():
            seen = [model.segment(*given) for model in self.models]
        return [seen, *self.redraw(seen, opacity)]

    def nothing(self) -> list[None]:
        """Return what empties the page, so that no earlier result stands beside it."""
        return [None] * (1 + 2 * len(self.models))

    def redraw(self, seen: list[Segmented] | None, opacity: float) -> list:
        """Return overlays and facts for an opacity."""
        if seen is None:  # there is no image, or it was too long ago
            return [gr.skip()] * (2 * len(self.models))
        shown = []
        for model, one in zip(self.models, seen, strict=True):
            shown.append(model.draw(one, opacity)[..., ::-1])
            shown.append(facts(model, one.tally))
        return shown

    def frame(self, given: tuple[str, bytes] | None, opacity: float) -> list:
        """Return what is shown of a frame of the webcam."""
        return self.image(given, opacity)[1:]

    def video(self, given: str | None, opacity: float, progress=PROGRESS) -> list:
        """Return what is shown of a video."""
        if given is None:
            raise gr.Error('Upload a video first.', print_exception=False)
        shown = []
        for model in self.models:
            target = Path(tempfile.mkdtemp(dir=self.folder)) / 'overlay.mp4'
            advance = partial(progress, desc=model.name, unit='frames')
            with told():
                tally = model.write_video(Path(given), target, opacity, warn, advance)
            shown += [str(target), facts(model, tally)]
        return shown


@contextmanager
def told() -> Iterator[None]:
    """Show a user's mistake on the page, in the words of the error."""
    try:
        yield
    except ValueError as error:
        message = escape(str(error))
        raise gr.Error(message, duration=None, print_exception=False) from error


def warn(text: str) -> None:
    gr.Warning(escape(text), duration=None)


def facts(model: DemoModel, tally: Tally) -> str:
    """Return the legend with class shares, and the time of each stage, as HTML."""
    names, palette = model.predictor.classes, model.predictor.palette
    classes = [
        (f'<i style="background: rgb{tuple(colour)}"></i>{escape(name)}', share)
        for name, colour, share in zip(names, palette, tally.shares(), strict=True)
        if share
    ]
    shares = [(name, f'{100 * share:.2f} %') for name, share in classes]
    times = [(name, f'{ms:.1f} ms') for name, ms in tally.milliseconds().items()]
    return table('Class', 'Share', shares) + table('Stage', 'Time', times)


def table(left: str, right: str, rows: list[tuple[str, str]]) -> str:
    body = ''.join(f'<tr><td>{a}</td><td>{b}</td></tr>' for a, b in rows)
    return f'<table><tr><th>{left}</th><th>{right}</th></tr>{body}</table>'
