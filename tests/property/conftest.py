"""Settings of the property tests."""

from hypothesis import settings

# How long an example takes says nothing about the code where a machine is shared.
settings.register_profile("mfcore", deadline=None)
settings.load_profile("mfcore")
