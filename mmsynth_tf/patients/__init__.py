"""Jobs that apply exported models to patients' files: whole volumes of any orientation and voxel size.

`files` finds and writes files, and `patient` reads one case. `field_of_view`
resamples its axial slices to the model's, and `slice_models` runs the networks
on them. The jobs are `translate`, `insert`, `segment` and `sample`;
`jobs.for_each` runs one of them for many cases.
"""
