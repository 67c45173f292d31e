package drivertest

import (
	"fmt"
	"net"
	"sync"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// Lines are lines to something that Serve speaks for, until its end of a line is
// closed. They may be used in a bubble.
type Lines struct {
	Serve func(net.Conn)

	mu    sync.Mutex
	cut   bool
	muted bool
	held  []net.Conn
}

// Open opens a line; drivers take it in place of medium.Open.
func (l *Lines) Open(schema.Source) (medium.Line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, fmt.Errorf("%w: cut", collect.ErrLink)
	}
	ours, theirs := net.Pipe()
	l.held = append(l.held, theirs)
	go l.Serve(&mutable{Conn: theirs, lines: l})
	return medium.Over(ours), nil
}

// Cut closes all lines and lets none be opened until they are joined again.
func (l *Lines) Cut() (join func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for _, c := range l.held {
		c.Close()
	}
	l.held = nil
	return func() { l.set(&l.cut, false) }
}

// Mute swallows what is said to the driver until it is let through again.
func (l *Lines) Mute() (again func()) {
	l.set(&l.muted, true)
	return func() { l.set(&l.muted, false) }
}

func (l *Lines) set(what *bool, to bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*what = to
}

// delay is how long what is said takes, so that time goes by between answers.
const delay = time.Millisecond

// mutable is a connection that may lose what is said.
type mutable struct {
	net.Conn
	lines *Lines
}

func (c *mutable) Write(p []byte) (int, error) {
	c.lines.mu.Lock()
	muted := c.lines.muted
	c.lines.mu.Unlock()
	if muted {
		return len(p), nil
	}
	time.Sleep(delay)
	return c.Conn.Write(p)
}
