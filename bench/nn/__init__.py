"""Parts that methods are built of: heads, momentum networks, queues, prototypes, masks, schedules, losses.

Imports errors alone.
"""
