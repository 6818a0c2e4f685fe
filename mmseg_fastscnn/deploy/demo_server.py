"""Serve the page of the demo, without connections to other machines."""

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mmseg_fastscnn.deploy.demo import DemoModel
from mmseg_fastscnn.deploy.demo_page import DemoPage
from mmseg_fastscnn.stopping import StopSignals


def run_page(models: Sequence[DemoModel], host: str, port: int) -> int:
    """Serve the page until a signal comes; return its number.

    Uploads and results lie in a folder that is removed at the end.

    Args:
        models: See `DemoPage`.
        host, port: Where it is served, after `check_free`.
    """
    with tempfile.TemporaryDirectory(prefix='fastscnn_demo_') as folder:
        os.environ.update(GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED='False')
        os.environ['no_proxy'] = '*'  # gradio asks its own server whether it answers
        own = socket.gethostbyname(host)  # connections go to numbers
        sys.addaudithook(partial(refuse_others, own))
        with StopSignals((signal.SIGINT, signal.SIGTERM)) as stop:
            page = DemoPage(models, Path(folder)).launch(host, port)
            print(f'The demo is at {page.local_url} (Ctrl-C ends it)', flush=True)
            while not stop.number:
                time.sleep(0.1)
            page.close(verbose=False)
    return stop.number


def check_free(host: str, port: int) -> None:
    """Raise ValueError if nothing can be served at an address."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise ValueError(
            f'Nothing can be served at {host}:{port} ({error.strerror}). End the '
            f'program that uses the port, or choose another one: --port {port + 1}'
        ) from error


def refuse_others(own: str, event: str, args: tuple) -> None:
    """Refuse connections to other machines: gradio fetches what a request names.

    It is an audit hook, which Python calls before each connection.

    Args:
        own: An address of this machine.
        event, args: What is about to happen.

    Raises:
        OSError: It is a connection to another machine.
    """
    if event == 'socket.connect' and isinstance(args[1], tuple):
        host = args[1][0]
        if host not in (own, 'localhost', '::1') and not host.startswith('127.'):
            raise OSError(f'The demo does not connect to other machines ({host}).')
