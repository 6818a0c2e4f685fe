"""`fastscnn VERB ...`, or `python -m mmseg_fastscnn VERB ...`."""

import difflib
import sys

from mmseg_fastscnn import __version__
from mmseg_fastscnn.commands import MISTAKE, VERBS, command, run

BEGINNING = """usage: fastscnn VERB ...

From a folder of annotated images to a model:
  fastscnn check photos
  fastscnn train photos --minutes 20

fastscnn VERB --help says more.
"""


def main() -> None:
    """Run the command that the first argument names."""
    verb, *words = sys.argv[1:] or ['--help']
    if verb in ('-h', '--help'):
        print(overview())
    elif verb == '--version':
        print(f'fastscnn {__version__}')
    elif verb in VERBS:
        run(verb, words, f'fastscnn {verb}')
    else:
        hint = difflib.get_close_matches(verb, VERBS, n=1)
        meant = f'; did you mean {hint[0]}?' if hint else '.'
        print(
            f'fastscnn: no verb {verb!r}{meant} (see fastscnn --help)', file=sys.stderr
        )
        sys.exit(MISTAKE)


def overview() -> str:
    """Return one line per command."""
    firsts = (f'  {verb:<20}{command(verb).__doc__.splitlines()[0]}' for verb in VERBS)
    return '\n'.join((BEGINNING, *firsts))


if __name__ == '__main__':
    main()
