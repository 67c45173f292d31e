package dlt698

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt698/wire"
	"gnomon/schema"
)

// spoilers are the ways to spoil a request's answer. Those marked harmless cost
// no try: the answer is found all the same.
var spoilers = map[string]struct {
	harmless bool
	spoil    func(s *server, q question, n int, good []byte) []reply
}{
	"late":      {false, func(_ *server, _ question, _ int, good []byte) []reply { return []reply{{patience * 3 / 2, good}} }},
	"very late": {false, func(_ *server, _ question, _ int, good []byte) []reply { return []reply{{patience * 3, good}} }},
	"silent":    {false, func(*server, question, int, []byte) []reply { return nil }},
	"twice": {true, func(_ *server, _ question, _ int, good []byte) []reply {
		return []reply{{0, good}, {4 * time.Millisecond, good}}
	}},
	"glued": {true, func(_ *server, _ question, _ int, good []byte) []reply {
		return []reply{{0, slices.Concat(good, good)}}
	}},
	"cut":       {false, func(_ *server, _ question, _ int, good []byte) []reply { return []reply{{0, good[:len(good)-3]}} }},
	"cut early": {false, func(_ *server, _ question, _ int, good []byte) []reply { return []reply{{0, good[:4]}} }},
	"in pieces": {true, func(_ *server, _ question, _ int, good []byte) []reply {
		return []reply{{0, good[:1]}, {5 * time.Millisecond, good[1:5]}, {10 * time.Millisecond, good[5:]}}
	}},
	"preamble": {true, func(_ *server, _ question, _ int, good []byte) []reply {
		return []reply{{0, slices.Concat([]byte{0xfe, 0xfe, 0xfe, 0xfe}, good)}}
	}},
	"noise before": {true, func(_ *server, _ question, _ int, good []byte) []reply {
		return []reply{{0, slices.Concat([]byte{0, 0x68, 0xff, 0xff, 0x68, 0x16, 7}, good)}}
	}},
	"noise after": {true, func(_ *server, _ question, _ int, good []byte) []reply {
		return []reply{{0, slices.Concat(good, []byte{0x68, 0x21, 0, 0xc3})}}
	}},
	"garbage": {false, func(_ *server, _ question, _ int, good []byte) []reply {
		return []reply{{0, slices.Repeat([]byte{0xa5}, len(good))}}
	}},
	"value corrupted": {false, corrupt(-6)}, "header corrupted": {false, corrupt(6)}, "length corrupted": {false, corrupt(1)}, "end corrupted": {false, corrupt(-1)},
	"of another meter": {false, func(s *server, q question, n int, _ []byte) []reply {
		return []reply{{0, packet(0xc3, "000000000099", q.client, s.answer(q, 99, n))}}
	}},
	"of another meter, then ours": {true, func(s *server, q question, n int, good []byte) []reply {
		return []reply{{0, packet(0xc3, "000000000099", q.client, s.answer(q, 99, n))}, {5 * time.Millisecond, good}}
	}},
	"to another client": {false, func(s *server, q question, n int, _ []byte) []reply {
		return []reply{{0, packet(0xc3, q.address, 0x11, s.answer(q, 99, n))}}
	}},
	"to another service, then ours": {true, func(s *server, q question, n int, good []byte) []reply {
		other := q
		other.data = slices.Clone(q.data)
		other.data[2] ^= 1
		return []reply{{0, packet(0xc3, q.address, q.client, s.answer(other, 99, n))}, {5 * time.Millisecond, good}}
	}},
	"of other attributes": {false, func(s *server, q question, n int, _ []byte) []reply {
		other := q
		other.data = slices.Clone(q.data)
		other.data[len(other.data)-4] ^= 0x40 // the object of the last one
		return []reply{{0, packet(0xc3, q.address, q.client, s.answer(other, 99, n))}}
	}},
	"of another record": {false, func(s *server, q question, n int, _ []byte) []reply {
		other := q
		other.data = slices.Clone(q.data)
		other.data[4] ^= 1 // the object of the record, or of the first attribute of a list
		return []reply{{0, packet(0xc3, q.address, q.client, s.answer(other, 99, n))}}
	}},
	"begun by the meter": {false, func(s *server, q question, n int, _ []byte) []reply {
		return []reply{{0, packet(0x83, q.address, q.client, s.answer(q, 99, n))}}
	}},
	"of another kind": {false, func(_ *server, q question, _ int, _ []byte) []reply {
		return []reply{{0, packet(0xc3, q.address, q.client, []byte{0x86, 1, q.data[2], 0x20, 0, 2, 1, 0, 0, 0})}}
	}},
	"not parseable": {false, func(_ *server, q question, _ int, _ []byte) []reply {
		return []reply{{0, packet(0xc3, q.address, q.client, []byte{0x85, 2, q.data[2], 9, 1})}}
	}},
	"a report before": {true, func(_ *server, q question, _ int, good []byte) []reply {
		report := packet(0x83, q.address, q.client, []byte{0x88, 1, q.data[2], 1, 0x33, 0x20, 2, 0, 1, 0, 0, 0})
		return []reply{{0, slices.Concat(report, good)}}
	}},
	"our own echo before": {true, func(_ *server, q question, _ int, good []byte) []reply {
		return []reply{{0, slices.Concat(packet(0x43, q.address, q.client, q.data), good)}}
	}},
	"first fragment only": {false, func(s *server, q question, n int, _ []byte) []reply {
		s.frameSize = 10
		first := s.good(q, n)
		s.frameSize, s.fragments = 0, nil
		return []reply{{0, first}}
	}},
	"last fragment only": {false, func(s *server, q question, n int, _ []byte) []reply {
		s.frameSize = 10
		s.good(q, n)
		last := s.fragments[len(s.fragments)-1]
		s.frameSize, s.fragments = 0, nil
		return []reply{{0, last}}
	}},
}

func corrupt(at int) func(*server, question, int, []byte) []reply {
	return func(_ *server, _ question, _ int, good []byte) []reply {
		bad := slices.Clone(good)
		bad[(at+len(bad))%len(bad)] ^= 0x10
		return []reply{{0, bad}}
	}
}

func TestPoll_Faults(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		for name, fault := range spoilers {
			for spell, hit := range map[string]func(n int) bool{
				"once":   func(n int) bool { return n == 1 },
				"thrice": func(n int) bool { return n >= 1 && n <= 3 },
			} {
				t.Run(string(kind)+"/"+name+"/"+spell, func(t *testing.T) {
					t.Parallel()
					s := &server{meters: map[string]uint64{address: 1}}
					s.fault = func(n int, q question, good []byte) []reply {
						if hit(n) {
							return fault.spoil(s, q, n, good)
						}
						return []reply{{0, good}}
					}
					m := newMaster(t, kind, s)
					if fault.harmless {
						if result, ok, err := m.poll(address, several); !ok || result.Frames != 3 {
							t.Errorf("%d frames: %v", result.Frames, err)
						}
						return
					}
					m.source.Timeout = schema.Duration(patience)
					m.recover(address, several)
					m.recover(address, several)
					if s.count() < 13 {
						t.Errorf("%d requests: the fault was not met", s.count())
					}
				})
			}
		}
	}
}

// Whatever is lost of the answers in fragments and parts, nothing is mixed up.
func TestPoll_FaultsAmongParts(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		for _, name := range []string{"late", "silent", "twice", "cut", "value corrupted", "noise after", "in pieces"} {
			t.Run(string(kind)+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := &server{meters: map[string]uint64{address: 1}, partSize: 2, frameSize: 25}
				s.fault = func(n int, q question, good []byte) []reply {
					if n%4 == 1 {
						return spoilers[name].spoil(s, q, n, good)
					}
					return []reply{{0, good}}
				}
				m := newMaster(t, kind, s)
				m.source.Tries, m.source.Timeout = 4, schema.Duration(patience)
				m.recover(address, several)
				m.recover(address, several)
			})
		}
	}
}

// A part that is left out is asked for again.
func TestPoll_PartLeftOut(t *testing.T) {
	t.Parallel()
	s := &server{partSize: 2}
	s.fault = func(n int, q question, good []byte) []reply {
		if n == 1 {
			return []reply{{0, packet(0xc3, q.address, q.client, s.part(q.data[2], 3))}}
		}
		return []reply{{0, good}}
	}
	m := newMaster(t, schema.SourceDLT698TCP, s)
	m.source.Timeout = schema.Duration(2 * time.Second)
	if result, ok, err := m.poll(address, several[:5]); !ok || result.Frames != 4 {
		t.Errorf("%d frames, %v", result.Frames, err)
	}
}

// What is wrong is said in the words of collect.
func TestPoll_Reasons(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{
		"silent": collect.ErrTimeout, "cut": collect.ErrGarbled, "value corrupted": collect.ErrGarbled, "not parseable": collect.ErrGarbled,
		"of another meter": collect.ErrTimeout, "first fragment only": collect.ErrTimeout, "last fragment only": collect.ErrGarbled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{meters: map[string]uint64{address: 1}}
			s.fault = func(n int, q question, good []byte) []reply { return spoilers[name].spoil(s, q, n, good) }
			m := newMaster(t, schema.SourceDLT698TCP, s)
			m.source.Timeout = schema.Duration(4 * patience)
			result, _, err := m.poll(address, several)
			if !errors.Is(err, want) || result.Frames != 2 {
				t.Errorf("%d frames, %v, want %v", result.Frames, err, want)
			}
		})
	}
}

// A server that comes back under its former address, or a line that is plugged
// in again, is used again.
func TestPoll_ServerRestarts(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			o := attach(t, kind, new(server))
			m := &master{t: t, driver: New(), server: o.server, source: o.source}
			t.Cleanup(func() { m.driver.Release(m.source) })
			m.recover(address, several)
			o.cut()
			if _, ok, err := m.poll(address, several); ok || !errors.Is(err, collect.ErrLink) {
				t.Errorf("without a line: %v", err)
			}
			o.join()
			m.source = o.source
			if _, ok, err := m.poll(address, several); !ok {
				t.Errorf("first poll after the return: %v", err)
			}
		})
	}
}

// A dead meter is asked less and less, and is found again.
func TestPoll_DeadNeighbour(t *testing.T) {
	t.Parallel()
	s := &server{meters: map[string]uint64{address: 1}}
	m := newMaster(t, schema.SourceDLT698TCP, s)
	m.source.Timeout = schema.Duration(4 * patience)
	for range 5 {
		if _, ok, _ := m.poll("000000000077", several); ok {
			t.Error("a meter that isn't there was read")
		}
		if _, ok, err := m.poll(address, several); !ok {
			t.Errorf("the living one: %v", err)
		}
	}
	result, _, err := m.poll("000000000077", several)
	if !errors.Is(err, collect.ErrSkipped) || result.Frames != 0 {
		t.Errorf("%d frames, %v", result.Frames, err)
	}
	asked := 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.asked {
		if q.address == "000000000077" {
			asked++
		}
	}
	if asked != 4 { // two tries in each of two polls
		t.Errorf("the dead one was asked %d times", asked)
	}
}

// What was learnt of a meter is forgotten with its silence: it may come back as
// another one. A refusal is an answer.
func TestMeter_Note(t *testing.T) {
	m := newPort(schema.Source{}, nil).meter(wire.Address{Len: 1})
	now := time.Unix(1000, 0)
	for _, err := range []error{nil, &Refused{Code: 6}, collect.ErrGarbled, collect.ErrLink, collect.ErrTimeout} {
		m.scalers[0x20000300], m.most[batchKey{}], m.alone[slot{}] = -1, 1, true
		m.note(err, now)
		if want := 1; errors.Is(err, collect.ErrTimeout) && len(m.scalers)+len(m.most)+len(m.alone) > 0 || !errors.Is(err, collect.ErrTimeout) && len(m.scalers) != want {
			t.Errorf("after %v: %d known", err, len(m.scalers))
		}
	}
}

// The line is used in turns: two polls of one port never meet on it, and both
// come to their end; a port that is released meanwhile is opened again.
func TestPoll_Turns(t *testing.T) {
	t.Parallel()
	meters := map[string]uint64{address: 1, "000000000011": 2, "000000000012": 3}
	s := &server{meters: meters}
	m := newMaster(t, schema.SourceDLT698TCP, s)
	var polls sync.WaitGroup
	for meter := range meters {
		polls.Go(func() {
			for range 20 {
				if _, ok, err := m.poll(meter, several); !ok {
					t.Errorf("%s: %v", meter, err)
				}
			}
		})
	}
	for range 20 {
		m.driver.Release(m.source)
	}
	polls.Wait()
	if n := s.count(); n != 3*20*3 {
		t.Errorf("%d requests: some were asked twice", n)
	}
}
