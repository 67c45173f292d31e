package dlt645

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// faults spoil the answer to a request.
var faults = map[string]func(s *slave, r request, good []byte) []reply{
	"late":      func(_ *slave, _ request, good []byte) []reply { return []reply{{patience * 3 / 2, good}} },
	"very late": func(_ *slave, _ request, good []byte) []reply { return []reply{{patience * 2, good}} },
	"lost":      func(*slave, request, []byte) []reply { return nil },
	"twice": func(_ *slave, _ request, good []byte) []reply {
		return []reply{{0, good}, {4 * time.Millisecond, good}}
	},
	"twice glued": func(_ *slave, _ request, good []byte) []reply { return []reply{{0, slices.Concat(good, good)}} },
	"cut":         func(_ *slave, _ request, good []byte) []reply { return []reply{{0, good[:len(good)-3]}} },
	"no head":     func(_ *slave, _ request, good []byte) []reply { return []reply{{0, good[2:]}} },
	"in pieces": func(_ *slave, _ request, good []byte) []reply {
		return []reply{{0, good[:1]}, {5 * time.Millisecond, good[1:9]}, {10 * time.Millisecond, good[9:]}}
	},
	"preamble and noise": func(_ *slave, _ request, good []byte) []reply {
		return []reply{{0, slices.Concat([]byte{0, 0x68, 0xff, 0xfe, 0xfe}, good)}}
	},
	"false start": func(_ *slave, _ request, good []byte) []reply { return []reply{{0, slices.Concat(good[:11], good)}} },
	"noise": func(_ *slave, _ request, good []byte) []reply {
		return []reply{{0, slices.Repeat([]byte{0xa5}, len(good))}}
	},
	"endless": func(_ *slave, _ request, good []byte) []reply { return []reply{{0, slices.Repeat([]byte{0x68}, 600)}} },
	"corrupted": func(_ *slave, _ request, good []byte) []reply {
		bad := slices.Clone(good)
		bad[len(bad)-3] ^= 0x10 // a digit of the value
		return []reply{{0, bad}}
	},
	"corrupted checksum": func(_ *slave, _ request, good []byte) []reply {
		bad := slices.Clone(good)
		bad[len(bad)-2]++
		return []reply{{0, bad}}
	},
	"another meter": func(s *slave, r request, _ []byte) []reply {
		r.address = map[string]string{one: two, two: one}[r.address]
		return []reply{{0, s.good(r)}}
	},
	"another meter first": func(s *slave, r request, good []byte) []reply {
		r.address = map[string]string{one: two, two: one}[r.address]
		return []reply{{0, slices.Concat(s.good(r), good)}}
	},
	"another item": func(s *slave, r request, _ []byte) []reply {
		r.di = map[string]string{"02010100": "02800002", "02800002": "02010100"}[r.di]
		return []reply{{0, s.good(r)}}
	},
	"another item first": func(s *slave, r request, good []byte) []reply {
		r.di = map[string]string{"02010100": "02800002", "02800002": "02010100"}[r.di]
		return []reply{{0, slices.Concat(s.good(r), good)}}
	},
	"another function": func(_ *slave, r request, _ []byte) []reply {
		return []reply{{0, says(r.address, 0x94, append(backwards(r.di), 1, 2)...)}}
	},
	"another master": func(_ *slave, r request, good []byte) []reply {
		return []reply{{0, slices.Concat(says(r.address, 0x11, backwards(r.di)...), good)}}
	},
	"no identifier": func(_ *slave, r request, _ []byte) []reply { return []reply{{0, says(r.address, 0x91, 1, 2)}} },
	"long refusal":  func(_ *slave, r request, _ []byte) []reply { return []reply{{0, says(r.address, 0xd1, 2, 2)}} },
	"refused":       func(_ *slave, r request, _ []byte) []reply { return []reply{{0, says(r.address, 0xd1, 1)}} },
	"refused twice": func(_ *slave, r request, _ []byte) []reply {
		return []reply{{0, says(r.address, 0xd1, 1)}, {patience / 2, says(r.address, 0xd1, 1)}}
	},
	"late refusal": func(_ *slave, r request, _ []byte) []reply {
		return []reply{{patience * 3 / 2, says(r.address, 0xd1, 1)}}
	},
}

// shape are two items that look alike on the wire, and what two meters have of them.
var (
	shape  = []schema.Item{item("V", "02010100", "XXX.X"), item("F", "02800002", "XX.XX")}
	truths = map[string]map[string]string{one: {"V": "100.1", "F": "50.01"}, two: {"V": "220", "F": "50.02"}}
)

// check polls both meters in turn: each value is right, or missing for a reason.
// It returns how many were right.
func (m *master) check(rounds int) (right int) {
	m.t.Helper()
	for range rounds {
		for _, address := range []string{one, two} {
			got, _ := m.poll(address, shape...)
			for name, text := range got {
				switch {
				case text == truths[address][name]:
					right++
				case !slices.Contains([]string{"timeout", "garbled", "exception", "skipped", "link"}, text):
					m.t.Errorf("%s of %s = %s, want %s: not its value", name, address, text, truths[address][name])
				}
			}
		}
	}
	return right
}

// harmless are the faults that cost no value.
var harmless = []string{"twice", "twice glued", "in pieces", "preamble and noise", "false start", "another meter first", "another item first", "another master"}

func TestPoll_Faults(t *testing.T) {
	for name, spoil := range faults {
		for when, hit := range map[string]func(n int) bool{
			"once":     func(n int) bool { return n == 1 },
			"thrice":   func(n int) bool { return n >= 1 && n <= 3 },
			"everyone": func(n int) bool { return true },
		} {
			eachKind(t, func(t *testing.T, kind schema.SourceKind) {
				s := &slave{meters: household()}
				s.fault = func(n int, r request, good []byte) []reply {
					if hit(n) {
						return spoil(s, r, good)
					}
					return []reply{{0, good}}
				}
				b := attach(t, kind, s)
				if !slices.Contains(harmless, name) {
					b.source.Timeout = schema.Duration(patience)
				}
				m := newMaster(t, b.source)
				rounds := 3
				right := m.check(rounds)
				if slices.Contains(harmless, name) && right < 4*rounds-1 { // a busy machine may spoil one
					t.Errorf("%s/%s: %d values of %d", name, when, right, 4*rounds)
				}
				if when == "everyone" {
					return
				}
				deadline := time.Now().Add(30 * time.Second) // a meter may be left out for a while
				for m.check(1) < 4 {
					if time.Now().After(deadline) {
						t.Fatalf("%s/%s: the line is never right again", name, when)
					}
				}
			})
		}
	}
}

// The line hears itself: our own request is no answer.
func TestPoll_Echo(t *testing.T) {
	eachKind(t, func(t *testing.T, kind schema.SourceKind) {
		s := &slave{meters: household(), echo: true}
		m := newMaster(t, attach(t, kind, s).source)
		if right := m.check(2); right < 7 { // a busy machine may spoil one
			t.Errorf("%d values of 8", right)
		}
		quiet := &slave{meters: map[string]map[string]string{}, echo: true}
		b := attach(t, kind, quiet)
		b.source.Timeout = schema.Duration(patience)
		if _, err := newMaster(t, b.source).poll(one, shape...); !errors.Is(err, collect.ErrTimeout) {
			t.Errorf("an echo and no answer: %v", err)
		}
	})
}

// A line that is cut is opened again when it is there again.
func TestPoll_CutLine(t *testing.T) {
	eachKind(t, func(t *testing.T, kind schema.SourceKind) {
		b := attach(t, kind, &slave{meters: household()})
		m := newMaster(t, b.source)
		if right := m.check(1); right < 3 {
			t.Errorf("%d values of 4", right)
		}
		b.cut()
		if _, err := m.poll(one, shape...); !errors.Is(err, collect.ErrLink) {
			t.Errorf("a line that was cut: %v", err)
		}
		b.join()
		deadline := time.Now().Add(30 * time.Second)
		for m.check(1) < 4 {
			if time.Now().After(deadline) {
				t.Fatal("the line is never right again")
			}
		}
	})
}

// A poll that is stopped says so of every item.
func TestPoll_Stopped(t *testing.T) {
	t.Parallel()
	m := newMaster(t, attach(t, schema.SourceDLT645TCP, &slave{meters: household()}).source)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := m.driver.Poll(ctx, collect.Request{Source: m.source, Meter: schema.Meter{ID: one, Address: one}, Items: shape, Priority: 5})
	if !errors.Is(err, context.Canceled) || len(r.Values) != len(shape) || collect.Reason(r.Values["F"].Err) != "stopped" {
		t.Errorf("%v, %+v", err, r)
	}
}
