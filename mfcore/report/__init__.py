"""What people look at: what a model has learnt, charts, and pages of HTML that need nothing else."""
