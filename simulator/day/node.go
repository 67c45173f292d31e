package day

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/edge/collect/q376"
	"gnomon/schema"
)

// node is the part of an agent that collects: the real engine and drivers.
type node struct {
	areas   map[string]*area
	heard   func(policy string, r collect.Report) // of a cycle that has ended
	version map[string]uint64

	engine *collect.Engine
	driver *q376.Driver
	end    context.CancelFunc
	ended  chan struct{}
}

func newNode(heard func(string, collect.Report), areas map[string]*area) *node {
	n := &node{areas: areas, heard: heard, version: make(map[string]uint64)}
	for name := range areas {
		n.version[name] = 1
	}
	return n
}

// open finds the area that a source leads to.
func (n *node) open(s schema.Source) (medium.Line, error) {
	a := n.areas[strings.TrimPrefix(filepath.Base(s.Port), "cco-")]
	if a == nil {
		return nil, fmt.Errorf("%w: %s", collect.ErrLink, s.Port)
	}
	return a.open(), nil
}

// start starts the agent with the policies that its disk has.
func (n *node) start(ctx context.Context) error {
	n.driver = q376.NewOver(n.open)
	n.engine = collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{schema.SourceQ376: n.driver}})
	for _, a := range n.areas {
		if err := n.engine.Apply(a.name, n.version[a.name], a.policy); err != nil {
			return err
		}
	}
	ctx, n.end = context.WithCancel(ctx)
	n.ended = make(chan struct{})
	running := make(chan struct{})
	go func() {
		defer close(running)
		_ = n.engine.Run(ctx) // ends with ctx
	}()
	go func() {
		defer close(n.ended)
		n.watch(running)
	}()
	return nil
}

// stop ends the agent.
func (n *node) stop() {
	n.end()
	<-n.ended
	for _, a := range n.areas {
		n.driver.Release(a.policy.Source)
	}
}

// change gives an area another policy.
func (n *node) change(a *area, p *schema.Policy) error {
	a.policy = p
	n.version[a.name]++
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
				n.heard(name, r)
			}
		}
	}
}
