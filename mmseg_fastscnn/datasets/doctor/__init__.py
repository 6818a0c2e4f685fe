"""Check the files of data sets before training does: the doctor.

`facts.py` looks at one image and its label, `survey.py` at a sample of a data set or,
in several processes, at all of it; `listing.py` lists what is there even where
something is missing. `findings.py` and `unusual.py` judge one split, `crops.py` the
sizes of its images, `splits.py` several splits, with `copies.py` and `videos.py`;
`suggested_map.py` says which label map would read labels. `examine.py` does all of
this. What is in a folder without a config is found by `datasets/annotations/`.

The check at the start of a training run and `fastscnn check` both use these.
The first looks at a sample for some seconds, the second at everything.
"""
