"""Ways to teach a student, each an Objective: what of the teacher it sees, and when."""
