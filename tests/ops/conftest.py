from hypothesis import settings

settings.register_profile("compiled", deadline=None)  # the first example may wait for a kernel to be compiled
settings.load_profile("compiled")
