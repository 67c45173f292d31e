package day

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/edge/collect/q376"
	"gnomon/edge/filesys/crashfs"
	"gnomon/edge/readings"
	"gnomon/edge/readings/upward"
	"gnomon/schema"
)

// node is the part of an agent that collects and tells: the real engine, drivers,
// store and sender.
type node struct {
	areas  map[string]*area
	heard  func(policy string, c collect.Cycle) // that has ended
	disk   *crashfs.Disk
	uplink *uplink
	starts uint64

	promises promises

	mu      sync.Mutex
	version map[string]uint64

	engine *collect.Engine
	driver *q376.Driver
	store  *readings.Store
	off    atomic.Bool // nothing can be reached any more
	end    context.CancelFunc
	works  sync.WaitGroup
}

func newNode(areas map[string]*area, d *crashfs.Disk, u *uplink) *node {
	n := &node{areas: areas, disk: d, uplink: u, version: make(map[string]uint64)}
	for name := range areas {
		n.version[name] = 1
	}
	return n
}

// open finds the area that a source leads to.
func (n *node) open(s schema.Source) (medium.Line, error) {
	a := n.areas[strings.TrimPrefix(filepath.Base(s.Port), "cco-")]
	if a == nil || n.off.Load() {
		return nil, fmt.Errorf("%w: %s", collect.ErrLink, s.Port)
	}
	return a.open(), nil
}

// start starts the agent with what its disk has.
func (n *node) start(ctx context.Context) (err error) {
	n.off.Store(false)
	n.starts++
	n.store = readings.Open(readings.Config{FS: n.disk.Mount(), Terms: n.terms})
	n.driver = q376.NewOver(n.open)
	n.engine = collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{schema.SourceQ376: n.driver}, Store: promising{n.store, &n.promises}})
	for _, a := range n.areas {
		if err := n.engine.Apply(a.name, n.version[a.name], a.policy); err != nil {
			return err
		}
	}
	sender := upward.New(upward.Config{Node: thing, Epoch: n.starts, Store: n.store, Changed: n.store.Changed(), Nudge: n.uplink.nudge})
	ctx, n.end = context.WithCancel(ctx)
	running := make(chan struct{})
	n.works.Go(func() {
		defer close(running)
		_ = n.engine.Run(ctx) // ends with ctx
	})
	n.works.Go(func() { n.watch(running) })
	n.works.Go(func() { _ = sender.Run(ctx) })
	n.works.Go(func() { n.uplink.run(ctx, sender) })
	return nil
}

// terms are what the policies say of readings.
func (n *node) terms(policy string) readings.Terms {
	a := n.areas[policy]
	if a == nil {
		return readings.DefaultTerms
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := a.policy
	return readings.Terms{Batch: p.Report.Batch, MaxDelay: p.Report.MaxDelay.D(), Keep: time.Duration(p.Keep) * 24 * time.Hour}
}

// kill ends the agent as a loss of power does: from one moment to the next nothing
// of it reaches a line, the cloud or the disk.
func (n *node) kill() {
	n.off.Store(true)
	n.disk.Restart()
	for _, a := range n.areas {
		a.hangUp()
	}
	n.stop()
}

// stop ends the agent.
func (n *node) stop() {
	n.end()
	n.works.Wait()
	for _, a := range n.areas {
		n.driver.Release(a.policy.Source)
	}
	_ = n.store.Close() // without power there is nothing to close
}

// change gives an area another policy.
func (n *node) change(a *area, p *schema.Policy) error {
	n.mu.Lock()
	a.policy = p
	n.version[a.name]++
	n.mu.Unlock()
	return n.engine.Apply(a.name, n.version[a.name], p)
}

// watch hears of every cycle that has ended, until the engine has.
func (n *node) watch(ended <-chan struct{}) {
	seen := make(map[string]uint64)
	for {
		select {
		case <-n.engine.Changed():
		case <-ended:
			return
		}
		for name := range n.areas {
			if r, ok := n.engine.Report(name); ok && r.Cycles > seen[name] {
				seen[name] = r.Cycles
				n.heard(name, r.Cycle)
			}
		}
	}
}
