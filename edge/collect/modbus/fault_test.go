package modbus

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// registers names holding registers by their addresses.
func registers(addresses ...int) []schema.Item {
	var items []schema.Item
	for _, a := range addresses {
		items = append(items, schema.Item{Name: "r" + strconv.Itoa(a), Function: 3, Address: a, Type: "uint16", Order: "ABCD", Scale: 1})
	}
	return items
}

// sameShape are three blocks whose answers look alike.
var sameShape = registers(0, 1, 2, 3, 100, 101, 102, 103, 200, 201, 202, 203)

// master polls a medium with a driver and checks every value it gets.
type master struct {
	t      *testing.T
	driver *Driver
	source schema.Source
}

func newMaster(t *testing.T, s schema.Source) *master {
	m := &master{t: t, driver: New(), source: s}
	t.Cleanup(func() { m.driver.Release(s) })
	return m
}

// poll reads items once. ok: all of them were read.
func (m *master) poll(unit byte, items []schema.Item) (result collect.Result, ok bool, err error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	result, err = m.driver.Poll(ctx, collect.Request{Source: m.source, Meter: schema.Meter{ID: "m", Unit: int(unit)}, Items: items})
	ok = err == nil
	for _, it := range items {
		v, has := result.Values[it.Name]
		switch {
		case !has || (v.Value == nil) == (v.Err == nil) || v.At.IsZero():
			m.t.Errorf("%s: neither value nor reason: %+v", it.Name, v)
		case v.Value == nil:
			ok = false
		default:
			if want := strconv.Itoa(int(worth(unit, it.Address))); it.Type != "bool" && v.Value.Text() != want {
				m.t.Errorf("unit %d %s = %s, want %s: another register's value", unit, it.Name, v.Value.Text(), want)
			}
		}
	}
	return result, ok, err
}

// leisure is how much longer everything takes where answers are late on a line
// that has no numbers for them: how late they may be told from others is counted
// in time limits, and a busy machine is not to use that up.
const leisure = 4

// slowly gives the source and the slave more time, on such a line.
func (m *master) slowly(s *slave) {
	if m.source.Kind == schema.SourceModbusTCP {
		return
	}
	m.source.Timeout *= leisure
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stretch = leisure
}

// attempt polls for what it does to the line; wrong values count all the same.
func (m *master) attempt(unit byte, items []schema.Item) {
	m.t.Helper()
	_, _, _ = m.poll(unit, items)
}

// recover polls until all items are read twice in a row: who comes back and
// goes again has not come back.
func (m *master) recover(unit byte, items []schema.Item) {
	m.t.Helper()
	deadline := time.Now().Add(30 * time.Second) // a unit may be left out for a while
	for row := 0; row < 2; {
		_, ok, err := m.poll(unit, items)
		if ok {
			row++
			continue
		}
		row = 0
		if time.Now().After(deadline) {
			m.t.Fatalf("unit %d does not come back: %v", unit, err)
		}
		<-time.After(patience / 4)
	}
}

// faults are the ways to spoil a request's answer.
var faults = map[string]func(s *slave, q question, good []byte) []reply{
	"late":      func(_ *slave, _ question, good []byte) []reply { return []reply{{patience * 3 / 2, good}} },
	"very late": func(_ *slave, _ question, good []byte) []reply { return []reply{{patience * 2, good}} },
	"lost":      func(*slave, question, []byte) []reply { return nil },
	"twice": func(_ *slave, _ question, good []byte) []reply {
		return []reply{{0, good}, {4 * time.Millisecond, good}}
	},
	"twice glued": func(_ *slave, _ question, good []byte) []reply { return []reply{{0, slices.Concat(good, good)}} },
	"short":       func(_ *slave, _ question, good []byte) []reply { return []reply{{0, good[:len(good)-3]}} },
	"in pieces": func(_ *slave, _ question, good []byte) []reply {
		return []reply{{0, good[:1]}, {5 * time.Millisecond, good[1:5]}, {10 * time.Millisecond, good[5:]}}
	},
	"oversized": func(_ *slave, _ question, good []byte) []reply {
		return []reply{{0, slices.Concat(good, make([]byte, 600))}}
	},
	"garbage": func(_ *slave, _ question, good []byte) []reply {
		return []reply{{0, slices.Repeat([]byte{0xa5}, len(good))}}
	},
	"corrupted": func(s *slave, _ question, good []byte) []reply {
		bad := slices.Clone(good)
		if s.rtu {
			bad[len(bad)-4] ^= 0x10 // a register's value: only the checksum tells
		} else {
			bad[1] ^= 0x10 // the transaction
		}
		return []reply{{0, bad}}
	},
	"wrong unit": func(s *slave, q question, _ []byte) []reply {
		q.unit++
		return []reply{{0, s.good(q)}}
	},
	"wrong function": func(s *slave, q question, _ []byte) []reply {
		q.function = 4
		return []reply{{0, s.good(q)}}
	},
	"more than asked": func(s *slave, q question, _ []byte) []reply {
		q.quantity++
		return []reply{{0, s.good(q)}}
	},
	"exception 4": func(s *slave, q question, _ []byte) []reply {
		return []reply{{0, s.frame(q, q.function|exceptionBit, 4)}}
	},
}

func TestPoll_Faults(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		for name, spoil := range faults {
			for spell, hit := range map[string]func(n int) bool{
				"once":   func(n int) bool { return n == 1 },
				"thrice": func(n int) bool { return n >= 1 && n <= 3 },
			} {
				t.Run(string(kind)+"/"+name+"/"+spell, func(t *testing.T) {
					t.Parallel()
					s := new(slave)
					s.fault = func(n int, q question, good []byte) []reply {
						if hit(n) {
							return spoil(s, q, good)
						}
						return []reply{{0, good}}
					}
					m := newMaster(t, attach(t, kind, s).source)
					m.source.Pause = schema.Duration(10 * time.Millisecond)
					if strings.HasSuffix(name, "late") {
						m.slowly(s)
					}
					m.recover(1, sameShape)
					m.recover(1, sameShape)
					if s.count() < 12 {
						t.Errorf("%d requests: the fault was not met", s.count())
					}
				})
			}
		}
	}
}

// A slave that keeps its answer to itself until it is asked again, and then
// gives both at once.
func TestPoll_AnswerLandsWithTheNext(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			var held []byte
			s := &slave{fault: func(n int, _ question, good []byte) []reply {
				if n == 1 {
					held = good
					return nil
				}
				both := slices.Concat(held, good)
				held = nil
				return []reply{{0, both}}
			}}
			m := newMaster(t, attach(t, kind, s).source)
			m.source.Tries = 1
			for range 3 {
				m.attempt(1, sameShape)
			}
			m.recover(1, sameShape)
		})
	}
}

// Late answers to the first request of a poll come into the next poll, which
// asks for other registers of the same shape.
func TestPoll_LateIntoAnotherPoll(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		for _, late := range []time.Duration{patience * 11 / 10, patience * 3 / 2, patience * 19 / 10, patience * 21 / 10, patience * 9 / 4} {
			t.Run(string(kind)+"/"+late.String(), func(t *testing.T) {
				t.Parallel()
				s := &slave{fault: func(n int, _ question, good []byte) []reply {
					if n < 3 {
						return []reply{{late, good}}
					}
					return []reply{{0, good}}
				}}
				m := newMaster(t, attach(t, kind, s).source)
				m.source.Tries = 1
				m.slowly(s)
				m.attempt(1, registers(10, 11))
				m.attempt(2, registers(20, 21))
				m.attempt(1, registers(30, 31))
				m.attempt(1, registers(40, 41))
				m.recover(1, registers(50, 51))
				m.recover(2, registers(60, 61))
			})
		}
	}
}

func TestPoll_SlaveRestarts(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds { // of a serial line: unplugged, and plugged in as another device
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := new(slave)
			medium := attach(t, kind, s)
			m := newMaster(t, medium.source)
			m.source.Timeout = calm
			m.recover(1, sameShape)
			for range 3 {
				medium.cut()
				_, ok, err := m.poll(1, sameShape)
				if ok || !errors.Is(err, collect.ErrLink) {
					t.Errorf("poll of nobody: %v, want %v", err, collect.ErrLink)
				}
				medium.join()
				if _, ok, err := m.poll(1, sameShape); !ok {
					t.Errorf("first poll after the return: %v", err)
				}
			}
		})
	}
}

// A connection dropped between two polls costs a repeated request at most.
func TestPoll_ConnectionDropped(t *testing.T) {
	t.Parallel()
	for _, kind := range []schema.SourceKind{schema.SourceModbusTCP, schema.SourceModbusRTUOver} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			medium := attach(t, kind, new(slave))
			m := newMaster(t, medium.source)
			m.source.Timeout = calm
			for range 3 {
				if _, ok, err := m.poll(1, sameShape); !ok {
					t.Fatal(err)
				}
				medium.cut()
				medium.join()
			}
		})
	}
}

// A dead unit costs its neighbour no right value and bounded time.
func TestPoll_DeadNeighbour(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dead := 0
			s := &slave{fault: func(_ int, q question, good []byte) []reply {
				if q.unit == 2 {
					dead++
					return nil
				}
				return []reply{{0, good}}
			}}
			m := newMaster(t, attach(t, kind, s).source)
			good := 0
			for i := range 20 {
				if _, ok, _ := m.poll(1, sameShape); ok {
					good++
				}
				if _, ok, _ := m.poll(2, sameShape); ok {
					t.Errorf("round %d: an answer of the dead unit", i)
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			// A busy machine may spoil a poll or two; how many exactly is asked in
			// virtual time.
			if most := 2 * m.source.Tries; good < 17 || dead > 2*most {
				t.Errorf("the good unit was read in %d rounds of 20, the dead unit was asked %d times, want %d", good, dead, most)
			}
		})
	}
}

// A slave with unreadable registers within the hole: the block is split, what
// can be read is read, and the place is remembered.
func TestPoll_IllegalAddressSplits(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := new(slave)
			s.fault = func(_ int, q question, good []byte) []reply {
				for _, forbidden := range []int{5, 9} {
					if q.address <= forbidden && forbidden < q.address+q.quantity {
						return []reply{{0, s.frame(q, q.function|exceptionBit, 2)}}
					}
				}
				return []reply{{0, good}}
			}
			m := newMaster(t, attach(t, kind, s).source)
			m.source.Timeout = calm
			items := registers(0, 1, 2, 6, 7, 12)
			first, ok, err := m.poll(1, items)
			if !ok {
				t.Fatal(err)
			}
			for learnt := range 5 { // a busy machine may cost a repeated request
				second, ok, err := m.poll(1, items)
				if ok && second.Frames < first.Frames && second.Frames <= 4 {
					break
				}
				if learnt == 4 {
					t.Errorf("%d requests, then %d: the cuts were not learnt: %v", first.Frames, second.Frames, err)
				}
			}
			// A single register that is refused is missing alone.
			result, ok, err := m.poll(1, registers(2, 5, 6))
			if ok || collect.Reason(err) != "exception" {
				t.Errorf("err %v, want a refusal", err)
			}
			if collect.Reason(result.Values["r5"].Err) != "exception" || result.Values["r2"].Value == nil || result.Values["r6"].Value == nil {
				t.Errorf("%+v", result.Values)
			}
		})
	}
}

func TestPoll_RefusalIsNotRepeated(t *testing.T) {
	s := new(slave)
	s.fault = func(_ int, q question, good []byte) []reply {
		if q.address == 100 {
			return []reply{{0, s.frame(q, q.function|exceptionBit, 4)}}
		}
		return []reply{{0, good}}
	}
	m := newMaster(t, attach(t, schema.SourceModbusTCP, s).source)
	result, ok, err := m.poll(1, sameShape)
	var refused *Exception
	if ok || !errors.As(err, &refused) || refused.Code != 4 {
		t.Errorf("err %v, want exception 4", err)
	}
	if s.count() != 3 || result.Frames != 3 {
		t.Errorf("%d requests, want 3: a refusal is an answer", s.count())
	}
	for _, it := range sameShape {
		if v := result.Values[it.Name]; (v.Value == nil) != (it.Address/100 == 1) {
			t.Errorf("%s: %+v", it.Name, v)
		}
	}
}

func TestPoll_BitsOfBothFunctions(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			m := newMaster(t, attach(t, kind, new(slave)).source)
			m.source.Timeout = calm
			var items []schema.Item
			for function := 1; function <= 2; function++ {
				for _, a := range []int{3, 4, 5, 11, 20, 40, 1000} {
					items = append(items, schema.Item{Name: strconv.Itoa(function*10000 + a), Function: function, Address: a, Type: "bool", Order: "ABCD", Scale: 1})
				}
			}
			result, ok, err := m.poll(9, items)
			if !ok {
				t.Fatal(err)
			}
			for _, it := range items {
				want := strconv.FormatBool(worth(9, it.Address)&1 == 1)
				if got := result.Values[it.Name].Value.Text(); got != want {
					t.Errorf("%s = %s, want %s", it.Name, got, want)
				}
			}
		})
	}
}

// Policies with different limits share a port: releasing it under a waiting
// poll costs that poll nothing but opening it again.
func TestRelease_WhileAnotherWaits(t *testing.T) {
	t.Parallel()
	s := &slave{fault: func(_ int, _ question, good []byte) []reply { return []reply{{patience / 2, good}} }}
	m := newMaster(t, attach(t, schema.SourceModbusRTUOver, s).source)
	done := make(chan bool)
	for range 8 {
		go func() {
			_, ok, err := m.poll(1, registers(1))
			if !ok {
				t.Error(err)
			}
			done <- ok
		}()
	}
	m.driver.Release(m.source)
	for range 8 {
		<-done
	}
}

func TestPoll_StopsWithContext(t *testing.T) {
	s := &slave{fault: func(int, question, []byte) []reply { return nil }}
	m := newMaster(t, attach(t, schema.SourceModbusTCP, s).source)
	m.source.Tries = 10
	ctx, cancel := context.WithCancel(context.Background())
	s.fault = func(int, question, []byte) []reply { cancel(); return nil }
	result, err := m.driver.Poll(ctx, collect.Request{Source: m.source, Meter: schema.Meter{ID: "m", Unit: 1}, Items: registers(1)})
	if !errors.Is(err, context.Canceled) || s.count() != 1 || collect.Reason(result.Values["r1"].Err) != "stopped" {
		t.Errorf("%v after %d requests", err, s.count())
	}
	if _, err := m.driver.Poll(ctx, collect.Request{Source: m.source, Meter: schema.Meter{ID: "m", Unit: 1}, Items: registers(1)}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
