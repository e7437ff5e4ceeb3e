#!/bin/sh
# The packages that a PyTorch image for GPUs usually lacks, brought to a machine without network; torch is not touched.
#
#   sh benchmarks/gpu_wheels.sh download DIR             # where there is a network: 16 MB of wheels for Python 3.12, versions of constraints.txt
#   sh benchmarks/gpu_wheels.sh install DIR SITE         # on the other machine: into SITE/site-packages, without their dependencies
#   PYTHONPATH=SITE/site-packages python3 benchmarks/gpu.py --output results
#
# The folder must be named site-packages: what lies elsewhere is the user's own code to dill, which then pickles whole modules.
#
# The other machine needs torch, accelerate, safetensors, tokenizers, huggingface_hub, pyarrow, pandas, psutil, rich, filelock.
# wandb, optuna, kiwipiepy and the launchers are not needed: the runs there use tracker=none.
set -eu
here=$(dirname "$0")
packages="transformers trl datasets multiprocess dill hydra-core omegaconf peft regex"
antlr=antlr4-python3-runtime==4.9.3 # pinned by hydra; has no wheel

case "${1:-} $#" in
"download 2")
    mkdir -p "$2"
    for name in $packages; do
        pinned=$(grep -i "^$name==" "$here/../constraints.txt" || echo "$name")
        # multiprocess and dill are not in constraints.txt: what datasets allows
        case $name in multiprocess) pinned="multiprocess<0.70.20" ;; dill) pinned="dill<0.4.2" ;; esac
        python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
            --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d "$2" "$pinned"
    done
    python3 -m pip wheel -q --no-deps -w "$2" "$antlr"
    ls -l "$2"
    du -sm "$2"
    ;;
"install 3")
    python3 -m pip install -q --no-index --no-deps --no-compile --target "$3/site-packages" "$2"/*.whl
    PYTHONPATH="$3/site-packages" python3 -c 'import torch, transformers, trl, datasets, hydra, peft; print(torch.__version__, transformers.__version__, trl.__version__, datasets.__version__, hydra.__version__, peft.__version__)'
    ;;
*)
    sed -n '2,11s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
