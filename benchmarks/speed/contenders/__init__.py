"""Every program that is measured, one file each."""
