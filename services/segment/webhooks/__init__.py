"""Telling those outside of changes of membership: signed, in order, and again until they take it.

`webhook` says what becomes of a webhook, purely; `courier` carries it out for one, and `couriers` for all that this
replica looks after. Messages are made in `messages`, signed in `signing`, and posted by `posting`, which reaches only
what `networks` allows.
"""
