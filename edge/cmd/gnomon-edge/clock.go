package main

import (
	"fmt"
	"os"
	"time"
)

// clockOffset is the variable that makes the agent's clock wrong by a duration,
// for tests of nodes that boot in 1970. It is in no manual.
const clockOffset = "GNOMON_CLOCK_OFFSET"

// clock returns the agent's clock: everything in it that asks for the time is
// given this one.
func clock() (func() time.Time, error) {
	text := os.Getenv(clockOffset)
	if text == "" {
		return time.Now, nil
	}
	off, err := time.ParseDuration(text)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", clockOffset, err)}
	}
	return func() time.Time { return time.Now().Add(off) }, nil
}
