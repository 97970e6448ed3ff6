"""What an administrator configures on a host by hand, checked there: probing asks the system, judging (pure) says what it means."""
