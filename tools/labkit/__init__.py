"""Builds and drives the laboratory: two real KVM hosts and the services, on one machine, in namespaces.

Standard library only, so that it works before anything is installed. `lab.Lab` is the way in for programs, `tools/lab` the one
for people.
"""
