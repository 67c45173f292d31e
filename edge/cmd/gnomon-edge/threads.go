package main

import (
	"runtime"
	"sync"
)

// spareThreads is how many threads the agent starts with. The Go runtime ends a
// program that needs another one where there is none to be had, and that is how
// it is when something on the node has taken all processes; those it has it keeps.
const spareThreads = 24

// reserveThreads has the runtime make threads, which it keeps for when goroutines
// wait for the kernel.
func reserveThreads() {
	var ready, done sync.WaitGroup
	release := make(chan struct{})
	for range spareThreads {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread() // or the thread would end with the goroutine
			ready.Done()
			<-release
		})
	}
	ready.Wait()
	close(release)
	done.Wait()
}
