package modbus

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// crowd are transports of one medium; it notices when two are in use at once.
type crowd struct {
	t    *testing.T
	busy chan struct{} // holds a token while someone sends
	open int
}

type member struct {
	crowd *crowd
	open  bool
}

func (m *member) Send(request []byte) ([]byte, error) {
	select {
	case m.crowd.busy <- struct{}{}:
	default:
		m.crowd.t.Error("two requests on one medium at once")
		return nil, collect.ErrLink
	}
	defer func() { <-m.crowd.busy }()
	if !m.open {
		m.open = true
		m.crowd.open++
	}
	if m.crowd.open != 1 {
		m.crowd.t.Errorf("the medium is open %d times", m.crowd.open)
	}
	time.Sleep(time.Second)
	return append([]byte{request[0], request[1], 0, 0, 0, 5, request[6], 3, 2}, 0, 7), nil
}

func (m *member) close() {
	if m.open {
		m.crowd.open--
		m.open = false
	}
}

// Polls that wait for a port while it is released take the one that follows:
// none waits for ever, and never are two ports on one medium.
func TestRelease_UnderWaitingPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, busy: make(chan struct{}, 1)}
		d := New()
		d.newPort = func(s schema.Source) *port { return newPortOn(s, &member{crowd: c}) }
		hole := 0
		source := schema.Source{Kind: schema.SourceModbusTCP, Address: "x", Tries: 1, MaxHole: &hole}
		done := make(chan error)
		ask := func() {
			_, err := d.Poll(t.Context(), collect.Request{Source: source, Meter: schema.Meter{Unit: 1}, Items: registers(1)})
			done <- err
		}
		const rounds = 5
		for range rounds {
			go ask()
			synctest.Wait()
			go func() { d.Release(source); done <- nil }()
			synctest.Wait()
			go ask()
			go func() { d.Release(source); done <- nil }()
			synctest.Wait()
		}
		late := time.After(time.Minute)
		for range 4 * rounds {
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-late:
				t.Fatal("a poll waits for a port that is gone")
			}
		}
		d.Release(source)
		if c.open != 0 || d.ports.Len() != 0 {
			t.Errorf("%d media and %d ports are left open", c.open, d.ports.Len())
		}
	})
}

// A policy that is stopped while its poll waits for the port lets go at once.
func TestPoll_StopsWaitingForThePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New()
		hole := 0
		source := schema.Source{Kind: schema.SourceModbusTCP, Address: "x", Tries: 1, MaxHole: &hole}
		busy, err := d.ports.Take(t.Context(), source, 1, d.newPort)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		result, err := d.Poll(ctx, collect.Request{Source: source, Meter: schema.Meter{Unit: 1}, Items: registers(1, 2)})
		if !errors.Is(err, context.Canceled) || result.Frames != 0 {
			t.Errorf("%v after %d requests", err, result.Frames)
		}
		for _, it := range registers(1, 2) {
			if v := result.Values[it.Name]; collect.Reason(v.Err) != "stopped" || v.At.IsZero() {
				t.Errorf("%s: %+v", it.Name, v)
			}
		}
		busy.Give()
	})
}

// overlapping are items of which each shares registers with the next but one.
func overlapping(types ...string) []schema.Item {
	var items []schema.Item
	for a, typ := range types {
		items = append(items, schema.Item{Name: strconv.Itoa(a), Function: 3, Address: a, Type: typ, Order: "ABCD", Scale: 1})
	}
	return items
}

// An item that is refused takes none of its neighbours along, not even those
// that lie in the same registers.
func TestPoll_RefusedItemIsMissingAlone(t *testing.T) {
	for _, c := range []struct {
		types     []string
		forbidden int
		missing   string
	}{
		{[]string{"uint16", "uint64", "uint16", "uint16"}, 4, "1"},
		{[]string{"uint64", "uint16", "uint16", "uint16"}, 1, "01"},
		{[]string{"uint16", "uint16", "uint64", "uint16", "uint16", "uint16", "uint16"}, 0, "0"},
		{[]string{"uint64", "uint64", "uint64", "uint64"}, 6, "3"},
		{[]string{"uint64", "uint64", "uint64", "uint64"}, 3, "0123"},
	} {
		s := new(slave)
		s.fault = func(_ int, q question, good []byte) []reply {
			if q.address <= c.forbidden && c.forbidden < q.address+q.quantity {
				return []reply{{0, s.frame(q, q.function|exceptionBit, illegalAddress)}}
			}
			return []reply{{0, good}}
		}
		d, source := New(), attach(t, schema.SourceModbusTCP, s).source
		items := overlapping(c.types...)
		result, err := d.Poll(t.Context(), collect.Request{Source: source, Meter: schema.Meter{ID: "m", Unit: 1}, Items: items})
		d.Release(source)
		missing := ""
		for _, it := range items {
			if v := result.Values[it.Name]; v.Value == nil {
				missing += it.Name
				if !errors.Is(v.Err, collect.ErrException) {
					t.Errorf("%v: %s: %v", c.types, it.Name, v.Err)
				}
			}
		}
		if missing != c.missing || !errors.Is(err, collect.ErrException) {
			t.Errorf("%v without register %d: %s are missing, want %s; %v", c.types, c.forbidden, missing, c.missing, err)
		}
	}
}

// A meter that refuses one block and then dies is not asked for all the others.
func TestPoll_DiesAfterRefusal(t *testing.T) {
	s := new(slave)
	s.fault = func(n int, q question, _ []byte) []reply {
		if n == 0 {
			return []reply{{0, s.frame(q, q.function|exceptionBit, 4)}}
		}
		return nil
	}
	m := newMaster(t, attach(t, schema.SourceModbusTCP, s).source)
	result, ok, err := m.poll(1, registers(0, 100, 200, 300, 400, 500))
	if ok || !errors.Is(err, collect.ErrException) || err.Error() != "exception 4" {
		t.Errorf("%v: the error is the first thing that went wrong", err)
	}
	if want := 1 + m.source.Tries; s.count() != want {
		t.Errorf("%d requests, want %d: refused once, then dead", s.count(), want)
	}
	for _, it := range registers(100, 500) {
		if reason := collect.Reason(result.Values[it.Name].Err); reason != "timeout" {
			t.Errorf("%s is missing for %s", it.Name, reason)
		}
	}
}
