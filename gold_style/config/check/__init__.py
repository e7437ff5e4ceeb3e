"""Everything that refuses a setting, in the first second, before torch is imported."""
