"""`fastscnn soft_labels`, by a name beside those of mmsegmentation's tools."""

from mmseg_fastscnn.commands import run

if __name__ == '__main__':
    run('soft_labels')
