#!/bin/bash
# A folder on many GPUs, as a Slurm array: sbatch --array=1-8 slurm_array.sh PHOTOS RESULTS
# Every job makes its part of the images. A job that is run again goes on where it was.
#SBATCH --job-name=jaxsr
#SBATCH --gpus=1
#SBATCH --time=04:00:00
set -eu
python -m jaxsr.sample -i "$1" -o "$2" --recursive --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
