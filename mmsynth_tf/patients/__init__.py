"""Jobs on patients' files: whole volumes in any orientation and voxel size, through exported models.

`files` finds and writes them, `patient` reads one, `field_of_view` lays its
axial slices into the model's, `slice_models` runs the networks on them;
`translate`, `insert`, `segment` and `sample` are the jobs, `batch` does one
for many cases.
"""
