"""The object store: bytes, tensors and commits; nothing about files or terminals."""
