"""Read-only views of an account: what the commands show is folded from its journal and nothing else."""
