"""What a mirror really has: liveness, listings, and telling wrong answers apart."""
