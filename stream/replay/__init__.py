"""Real shopping behaviour, sent again in time order on a virtual clock.

Read in the order an event flows: ``journey_tables`` and ``complete_journey`` (recorded purchases, mailings and
redemptions), ``generated`` (click and browse events around them, marked as generated), ``pace`` (when each is due),
``recording`` (which part is shown), ``producer`` (to Kafka), ``campaign_orders`` (the campaigns), ``command``.
"""
