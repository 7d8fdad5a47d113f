"""Published task graphs run for real, scaled down, on Headrace and on Dask, beside the makespan that HEFT predicts from the true costs."""
