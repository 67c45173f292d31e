package main

import (
	"runtime/debug"
	"testing"
)

// Whatever else is said meanwhile, doing something frugally leaves what is usual then.
func TestGarbage(t *testing.T) {
	percent := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	before := percent()
	defer debug.SetGCPercent(before)
	for _, tt := range []struct{ from, to, within int }{
		{garbageStarting, garbageStarting, garbageFrugal},
		{garbageStarting, garbageUsual, garbageFrugal}, // opening took longer than starting
		{-1, -1, garbageFrugal},
		{10, 10, 10},
	} {
		g := new(garbage)
		g.become(tt.from)
		g.frugally(func() {
			g.frugally(func() { g.become(tt.to) })
			if got := percent(); got != tt.within {
				t.Errorf("from %d: %d while it is done", tt.from, got)
			}
		})
		if got := percent(); got != tt.to {
			t.Errorf("from %d: %d is left, not %d", tt.from, got, tt.to)
		}
	}
	t.Setenv("GOGC", "70")
	t.Setenv("GOMEMLIMIT", "1GiB")
	debug.SetGCPercent(70)
	if g := newGarbage(); g.usual != 70 || percent() != 70 {
		t.Errorf("the environment says 70, and it is %d, %d", g.usual, percent())
	}
}
