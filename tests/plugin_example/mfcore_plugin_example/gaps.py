"""What the engine does not do, and why: the suite fails where this and the engine do not agree."""

from mfcore.testing._gaps import Gap

GAPS = (
    Gap("it has the gradients of matrix factorisation alone", models=["gmf*", "two*", "mlp*", "neumf*"]),
    Gap("it scores one pair at a time, and these compare items", objectives=["bpr", "softmax*"]),
    Gap(
        "it knows no update rule but plain SGD",
        optimizers=["momentum", "nesterov", "adagrad", "rmsprop", "*adam*", "wals*"],
    ),
)
