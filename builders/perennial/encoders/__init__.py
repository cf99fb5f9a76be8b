"""What tasks that read texts with an encoder share: tokens, the network and its checkpoints, which of its
weights learn, what it is made of, and its graph. All but `tokens` is torch's.

Knows no task: one says what it reads of the encoder (`network.Reading`).
"""
