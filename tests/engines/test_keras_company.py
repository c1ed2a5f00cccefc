"""The Keras engine beside others in one process: what it prints, what it imports, and on which Keras."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("mfcore_keras", reason="TensorFlow is not installed on this Python")

FIT = """
import numpy as np
import mfcore

data = mfcore.data.synthetic(2_000, 60, 40, seed=1).interactions

def fit(backend):
    settings = {"optimizer": mfcore.Adam(0.01), "batch_size": 64, "epochs": 2, "dtype": "float64"}
    return mfcore.fit(mfcore.MF(4), data, backend=backend, progress=False, **settings)
"""


def run(source, **environment):
    """Run Python source after `FIT` in a fresh process with this one's path."""
    left_out = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    prelude = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + FIT + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        check=True,
        env={**inherited, **environment},
    )


def test_a_fit_prints_nothing_of_tensorflow_s():
    done = run(
        """
        import os
        model = fit("keras")
        model.to_keras()
        print("TF_CPP_MIN_LOG_LEVEL" in os.environ, "torch" in sys.modules, "numba" in sys.modules)
        """
    )
    assert done.stdout == "False False False\n"
    assert done.stderr == ""


def test_what_others_write_while_it_is_loaded_stays_and_so_do_logs_that_are_asked_for():
    done = run(
        """
        import os, sys
        from importlib.abc import MetaPathFinder

        class Telling(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name == "tensorflow":
                    os.write(2, b"somebody else's line\\n")

        sys.meta_path.insert(0, Telling())
        import mfcore_keras
        """
    )
    assert done.stderr == "somebody else's line\n"
    assert run("import mfcore_keras", TF_CPP_MIN_LOG_LEVEL="0").stderr


@pytest.mark.parametrize("order", [("keras", "torch"), ("torch", "keras")])
def test_it_works_in_one_process_with_the_torch_engine_in_either_order(order):
    pytest.importorskip("torch", reason="torch is not installed on this Python")
    done = run(
        f"""
        models = [fit(backend) for backend in {(*order, order[0])!r}]
        for model in models:
            for name, array in model.parameters.items():
                np.testing.assert_allclose(array, models[0].parameters[name], rtol=1e-9, atol=1e-12)
        models[0].to_torch(), models[0].to_keras()
        print("the same")
        """
    )
    assert done.stdout == "the same\n"


def test_where_keras_runs_on_another_framework_it_trains_and_explains_why_there_is_no_keras_model():
    pytest.importorskip("torch", reason="torch, on which Keras is to run here, is not installed")
    done = run(
        """
        import keras
        model = fit("keras")
        try:
            model.to_keras()
        except mfcore.errors.UnsupportedError as error:
            print(keras.backend.backend(), error)
        """,
        KERAS_BACKEND="torch",
    )
    assert done.stdout.startswith("torch Keras runs on torch in this process")
    assert (
        "the environment variable KERAS_BACKEND is 'torch': unset it, or set it to 'tensorflow'"
        in done.stdout
    )


def test_memory_of_a_gpu_is_taken_as_it_is_needed_unless_somebody_has_said_otherwise():
    source = """
        import tensorflow as tf
        grown = []
        tf.config.list_physical_devices = lambda kind: ["GPU:0"]
        tf.config.experimental.set_memory_growth = lambda device, grows: grown.append((device, grows))
        from mfcore_keras import loading
        loading._import()
        print(grown)
        """
    assert run(source).stdout == "[('GPU:0', True)]\n"
    assert run(source, TF_FORCE_GPU_ALLOW_GROWTH="false").stdout == "[]\n"


def test_a_job_s_threads_are_tensorflow_s_unless_somebody_has_said_otherwise():
    source = """
        import tensorflow as tf
        tf.config.threading.set_inter_op_parallelism_threads(1)
        from mfcore_keras import devices
        devices.offer_threads(3)
        tf.constant(1) + 1
        devices.offer_threads(4)
        threading = tf.config.threading
        print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
        """
    assert run(source).stdout == "3 1\n"
