"""Where the teacher comes from: from itself, a peer, several tasks, an unlabelled pool, an older task."""
