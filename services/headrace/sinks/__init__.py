"""Sinks: the places to which hosts write outputs, so that others can read them, and from which clients read them back.

    cluster.submit(g, sink="out/")                        every output, in its own file: out/mean-0.npy
    g.output(mean, sink="s3://means/{param}/{step}.nc")   one output, in a place built from its metadata
    g.output(chart, sink=hr.Sink("charts/{name}.png", encoder=lambda figure, file: figure.savefig(file)))

How an output is written, committed and announced:

1. The runner that made the value encodes it, and writes it to the final folder, under a temporary name that no other writer uses
   (`places.part_of`). It hashes the file as it writes. The host reports the file as `written`: place, bytes, checksum.
2. The publisher gives the part its final name, replacing an older file, and announces the output. The announcement is the commit point:
   an output with a sink exists once the log has it as published, and the job is done once all outputs exist. A publisher that finds
   the part gone and the right file in its place announces it. So an output is announced once, even if a process dies in between.
3. Of several attempts, the first one that the log has as `written` counts. The publisher removes the parts of the others, and of jobs
   that failed or were cancelled. If a part is missing when the publisher commits it, the task runs again.

Runner and publisher both compute the names of a file, temporary and final, in the same way (`naming`), and take neither from a message. The
operator restricts where files may be (`allowed`).

A client that reads an announced output gets the bytes that were written (it verifies the checksum), or an error.

=============  ===============================================================================================
`places`       pure: an output's place, from the path of its sink, its name and its metadata
`naming`       pure: both names of a file, from a job's sink, an output and a write of it
`allowed`      pure: the places where sinks may write
`sink`         `hr.Sink`
`endings`      pure: the names of the formats, and the extensions of their files
`encodings`    formats, by the values' types: arrays as .npy, dicts and lists of arrays as .npz, xarray objects as .nc, data
               frames as .parquet, anything else as .pickle. CONTRIBUTING.md says how to add one
`files`        file systems: write, commit, remove, read; `local` for files on a local disk
`writing`      writes a value to its sink: for runners
`reading`      reads, verifies and decodes a published output: for clients
=============  ===============================================================================================
"""
