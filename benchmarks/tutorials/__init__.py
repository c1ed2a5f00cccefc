"""Three well-known Keras tutorials of matrix factorisation on MovieLens, as programs that run on any engine.

`python -m benchmarks.tutorials.ml100k_adam`, `.biased_sgd` and `.relu_or_sigmoid`; each has --help.
"""
