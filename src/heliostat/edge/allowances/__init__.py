"""What this node may spend of mirrors with a budget: the ledger on disk, and each worker's purse.

Promises: what is charged never exceeds what the manager gave this node, whatever is killed, cut off
or set to another time; a redirect waits for no disk and no other process.
"""
