"""The service on each host: owns everything local. Has no database access."""
