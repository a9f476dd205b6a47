"""The streaming service: behaviour events in, interest updates and ad decisions out.

Read in the order an event flows: ``events`` and ``decode`` (the contract), ``fold`` (pure user state),
``transport`` and ``ingest`` (FOLD: Kafka to state), ``scoring``, ``scorer``, ``results`` and ``publisher`` (SCORE: state to
model to updates), ``ads`` (decisions).
"""
