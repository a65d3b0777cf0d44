"""Spotrak's own database and buckets, the generator that fills them, and the services they run on without a container."""
