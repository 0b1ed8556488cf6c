"""Events: kept, filtered, followed."""
