"""Work in processes of its own, isolated from each other: started, followed and ended."""

from mfcore.processes._memory import peak_memory
from mfcore.processes._runner import Death, Send, run_in_processes
from mfcore.processes._signals import temporary_folder

__all__ = ["Death", "Send", "peak_memory", "run_in_processes", "temporary_folder"]
