"""Sinks: where asked-for outputs are written, so that others can read them, and read back.

    cluster.submit(g, sink="out/")                        every output, a file each: out/mean-0.npy
    g.output(mean, sink="s3://means/{param}/{step}.nc")   one output, in a place made of its metadata
    g.output(chart, sink=hr.Sink("charts/{name}.png", encoder=lambda figure, file: figure.savefig(file)))

What is written, and how it comes to count:

1. The runner that has made the value encodes it and writes it beside its place, under a temporary name that no other writer uses
   (`places.part_of`); what it writes it hashes. The host reports it as `written`: place, bytes, checksum.
2. The publisher gives the part its final name, over an older file, and announces the output. The announcement is the commit point: an
   output with a sink exists once it is in the log as published, and the job is done once all are. A publisher that finds the part gone and
   the right file in its place announces it; so an output is announced once, whatever dies in between.
3. Of several attempts the first that is in the log as written counts; the publisher removes the parts of the others, and those of jobs
   that failed or were cancelled. If a part is not there when it is to be committed, the task runs again.

Both names of a file, the temporary one and its own, are computed alike by who writes it and by who commits it (`naming`), and taken from no
message. Where files may be at all, the operator says (`allowed`).

Who reads an announced output gets the bytes that were written (the checksum is checked) or an error.

=============  ===============================================================================================
`places`       pure: an output's place, from the path of its sink, its name and its metadata
`naming`       pure: both names of a file, from a job's sink, an output and a write of it
`allowed`      pure: where sinks may write
`sink`         `hr.Sink`
`checks`       what is wrong with a graph's sinks, before it runs
`endings`      pure: the names of the formats, and how their files end
`encodings`    formats, by the values' types: arrays as .npy, dicts and lists of arrays as .npz, xarray objects as .nc, data
               frames as .parquet, anything else as .pickle. How to add one is in CONTRIBUTING.md
`files`        file systems: write, commit, remove, read; `local` for those on a local disk
`writing`      a value into its sink: for runners
`reading`      a published output, checked and decoded: for clients
=============  ===============================================================================================
"""
