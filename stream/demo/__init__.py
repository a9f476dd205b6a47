"""``interestflow demo``: the whole service on this machine, on real input, with a live screen.

Read in this order: ``options``, ``run`` (the course of it), ``stack`` (broker, Triton, worker), ``worker_child``,
``outputs`` (what the service publishes), ``samples`` and ``gauges`` (what the worker measures), ``figures`` (what is
shown and summed up), ``phrases``, then the two faces ``screen`` and ``lines``.
"""
