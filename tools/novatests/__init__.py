"""Nova's own tests of live migration, run against our driver: `tools/test nova-own` (doc/nova-driver.rst).

Runs in the environment of Nova. `adapter` puts our driver where Nova's tests look for Nova's; `selection` says which tests are
about live migration; `running` runs them and compares with `cannot-pass.txt`. No file of Nova is changed.
"""
