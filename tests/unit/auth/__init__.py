"""Login dialogues, driven message by message without a socket."""
