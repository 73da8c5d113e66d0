# A training whose numbers leave the range of floats stops, with step and tensor, also where its loss would
# still be finite: a norm makes zeros of what is too large to be squared.
. "$2/tests/e2e/e2e_lib.sh"
tiny_toolkit
sed -i 's/epochs: 2/epochs: 20, learning_rate: 1, clip: 0, keep: last, alpha: 100000, eval_every: 1/' task.yaml
stops() { # WHERE TEXT
    expect 1 fm run task.yaml --home "$1"
    grep -q ": train: $2.* layers\.segment_[01]\.layer_[0-9]\..*norm\.weight is given is not finite" stderr.txt ||
        { cat stderr.txt >&2; die "not stopped with step and tensor in the $1"; }
}
stops evaluation 'after step [0-9]*: evaluation: what'
sed -i 's/, valid: data.valid//' task.yaml
stops step 'step [0-9]*: what'
echo ok
