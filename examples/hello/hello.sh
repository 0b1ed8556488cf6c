#!/bin/sh
# What the demo's container runs.
printf '%s, %s! This is %s, process %s, user %s.\n' \
    "$(cat /app/greeting.txt)" "${WHO:-builder}" "$(hostname)" "$$" "$(id -un)"
