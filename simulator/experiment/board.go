package experiment

import (
	"sync"
	"time"

	"gnomon/simulator/cloudapi"
)

// target is one application of one node.
type target struct{ node, app string }

// board keeps what was written and what the cloud was seen to hold, for all
// targets of a round. It may be used by any number of goroutines.
type board struct {
	mu      sync.Mutex
	cells   map[target]*cell
	open    int           // not converged
	lost    int           // of these, not written
	changed chan struct{} // signalled when one of the two changes
}

type cell struct {
	want      uint64    // desired version of this round's write, 0 = not written yet
	wroteAt   time.Time // when the 200 arrived
	seen      uint64    // highest desired version seen converged
	seenAt    time.Time
	polled    bool // seen by reading, not by an event
	converged time.Duration
	done      bool
}

func newBoard(targets []target) *board {
	b := &board{cells: make(map[target]*cell, len(targets)), changed: make(chan struct{}, 1)}
	for _, t := range targets {
		b.cells[t] = new(cell)
	}
	return b
}

// begin starts a round.
func (b *board) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.cells {
		c.want, c.done = 0, false
	}
	b.open, b.lost = len(b.cells), 0
}

// wrote notes that the write of t was answered with this desired version.
func (b *board) wrote(t target, version uint64, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.cells[t]
	c.want, c.wroteAt = version, at
	b.settle(c)
}

// saw notes that the cloud holds t converged at this desired version. A sight
// that comes before the answer to the write is kept for it.
func (b *board) saw(t target, version uint64, at time.Time, polled bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.cells[t]
	if c == nil || version <= c.seen {
		return
	}
	c.seen, c.seenAt, c.polled = version, at, polled
	b.settle(c)
}

// gaveUp notes that t was not written: it will not converge in this round.
func (b *board) gaveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost++
	b.signal()
}

func (b *board) settle(c *cell) {
	if c.done || c.want == 0 || c.seen < c.want {
		return
	}
	c.done = true
	// The event may overtake the answer to the write.
	c.converged = max(0, c.seenAt.Sub(c.wroteAt))
	b.open--
	b.signal()
}

func (b *board) signal() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// left returns how many targets have not converged, and how many of those never
// will, because they were not written.
func (b *board) left() (open, lost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.lost
}

// unsettled returns the targets that have not converged.
func (b *board) unsettled() []target {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []target
	for t, c := range b.cells {
		if !c.done {
			all = append(all, t)
		}
	}
	return all
}

// results appends the round's convergence times and counts those seen by reading.
func (b *board) results(times []time.Duration) ([]time.Duration, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	polled := 0
	for _, c := range b.cells {
		if c.done {
			times = append(times, c.converged)
			if c.polled {
				polled++
			}
		}
	}
	return times, polled
}

// event takes over one event of the cloud.
func (b *board) event(e cloudapi.Event, app func(shadow string) (string, bool)) {
	if name, ok := app(e.Shadow); ok && e.Converged {
		b.saw(target{e.Thing, name}, e.DesiredVersion, time.Now(), false)
	}
}
