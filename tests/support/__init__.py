"""What tests share: a wire client, the proxy as a process, the interpreted build, and the invariants."""
