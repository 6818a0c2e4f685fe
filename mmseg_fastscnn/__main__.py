"""`fastscnn VERB ...`, or `python -m mmseg_fastscnn VERB ...`."""

import sys

from mmseg_fastscnn import __version__
from mmseg_fastscnn.commands import MISTAKE, VERBS, command, run


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
        print(f'{overview()}\n\nfastscnn: no verb {verb!r}.', file=sys.stderr)
        sys.exit(MISTAKE)


def overview() -> str:
    """Return one line per command."""
    lines = ['usage: fastscnn VERB ...', '', 'fastscnn VERB --help says more.', '']
    for verb in VERBS:
        lines.append(f'  {verb:<20}{command(verb).__doc__.splitlines()[0]}')
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
