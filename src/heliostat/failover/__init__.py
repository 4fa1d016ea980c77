"""DNS: which records the nodes should have, and how a provider is brought to have them.

Promises: never the last address; a plan made from older records is refused; work that was left half
done is finished by the next run. No room but `config` and `model` is needed.
"""
