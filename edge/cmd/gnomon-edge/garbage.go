package main

import (
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// How much garbage there may be beside the heap before it is collected, in percent.
const (
	garbageStarting = 400 // a node that boots has better things to do than to collect a few megabytes
	garbageUsual    = 50  // an agent shares its machine with the work
	garbageFrugal   = 25
)

// starting is how long an agent may take to bring everything up.
const starting = 5 * time.Second

// garbage alone says when the collector runs. What GOGC and GOMEMLIMIT say in the
// environment stands.
type garbage struct {
	mu     sync.Mutex
	usual  int // percent; below 0: none is collected
	frugal int // how many do what leaves much behind
}

// newGarbage keeps the heap small from some seconds after the start on.
func newGarbage() *garbage {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(64 << 20)
	}
	g := new(garbage)
	if os.Getenv("GOGC") != "" {
		g.usual = debug.SetGCPercent(garbageStarting)
		g.set()
		return g
	}
	g.become(garbageStarting)
	time.AfterFunc(starting, func() { g.become(garbageUsual) })
	return g
}

// become changes what is usual.
func (g *garbage) become(percent int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.usual = percent
	g.set()
}

func (g *garbage) set() {
	percent := g.usual
	if g.frugal > 0 && (percent > garbageFrugal || percent < 0) {
		percent = garbageFrugal
	}
	debug.SetGCPercent(percent)
}

// frugally does what leaves much garbage behind, which otherwise would cost many
// times what stays.
func (g *garbage) frugally(do func()) {
	add := func(n int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.frugal += n
		g.set()
	}
	add(1)
	defer add(-1)
	do()
	debug.FreeOSMemory()
}
