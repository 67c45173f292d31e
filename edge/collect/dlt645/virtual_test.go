package dlt645

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645/wire"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// wireline is a line in virtual time: what is said on it, and when, follows from
// what is written.
type wireline struct {
	babble  time.Duration // a byte comes this often, for ever; 0 = none
	answer  func(r request, nth int) []reply
	inOrder bool // requests are worked off one after the other, as a meter does
	heard   int
	last    time.Time
	due     []said
	closed  bool
}

type said struct {
	at    time.Time
	frame []byte
}

func (w *wireline) Read(p []byte, deadline time.Time) (int, error) {
	if w.babble > 0 {
		time.Sleep(w.babble)
		p[0] = 0x55
		return 1, nil
	}
	if len(w.due) == 0 || w.due[0].at.After(deadline) {
		time.Sleep(time.Until(deadline))
		return 0, medium.ErrSilence
	}
	time.Sleep(time.Until(w.due[0].at))
	n := copy(p, w.due[0].frame)
	if w.due[0].frame = w.due[0].frame[n:]; len(w.due[0].frame) == 0 {
		w.due = w.due[1:]
	}
	return n, nil
}

func (w *wireline) Write(p []byte, _ time.Time) error {
	var echo []byte
	r, err := hear(&reader{p}, &echo)
	if err != nil {
		return err
	}
	for _, s := range w.answer(r, w.heard) {
		at := time.Now().Add(s.after)
		if w.inOrder && at.Before(w.last) {
			at = w.last.Add(s.after)
		}
		w.last = at
		w.due = append(w.due, said{at, s.frame})
	}
	slices.SortStableFunc(w.due, func(a, b said) int { return a.at.Compare(b.at) })
	w.heard++
	return nil
}

func (w *wireline) Close() error { w.closed = true; return nil }

type reader struct{ rest []byte }

func (r *reader) Read(p []byte) (int, error) {
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func lineSource() schema.Source {
	preamble := 4
	return schema.Source{Kind: schema.SourceDLT645, Port: "/dev/none", Baud: 2400, Data: 8, Parity: "E", Stop: 1, Timeout: schema.Duration(time.Second), Tries: 1, Preamble: &preamble}
}

// on returns a driver whose line is w.
func on(t *testing.T, w *wireline) *master {
	d := New()
	d.dial = func(schema.Source) (medium.Line, error) { return w, nil }
	return &master{t, d, lineSource()}
}

// Whenever a late answer comes, be it a value or a refusal, it is never taken for
// that of another item or meter; and a line that behaves again is believed again.
func TestPoll_LateAnswerAtAnyTime(t *testing.T) {
	refusal := says(one, 0xd1, 0x02)
	for _, refused := range []bool{false, true} {
		for late := 50 * time.Millisecond; late < 12*time.Second; late += 50 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				s := &slave{meters: household()}
				line := &wireline{inOrder: true, answer: func(r request, nth int) []reply {
					good := s.good(r)
					if nth == 1 && refused {
						return []reply{{late, refusal}}
					}
					if nth == 1 {
						return []reply{{late, good}}
					}
					return []reply{{30 * time.Millisecond, good}}
				}}
				m := on(t, line)
				const rounds = 6
				right := m.check(rounds)
				// The first of these is refused or late; a meter is asked again 5 s later.
				if lost := 8 + int(late/time.Second)*2; right < 4*rounds-lost {
					t.Errorf("late by %v, refused %v: %d right values of %d", late, refused, right, 4*rounds)
				}
				checkRefusals(t, m, late)
			})
		}
	}
}

// checkRefusals looks into what the driver holds to be lacking: only what was
// asked for when the refusal came may be.
func checkRefusals(t *testing.T, m *master, late time.Duration) {
	t.Helper()
	p, err := m.driver.ports.Take(t.Context(), m.source, 0, m.driver.fresh)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Give()
	for a, known := range p.meters {
		for di := range known.lacks {
			if late > 1100*time.Millisecond || a.String() != one || di.String() != "02800002" {
				t.Errorf("late by %v: %s is said to lack %s", late, a, di)
			}
		}
	}
}

// A copy of a refusal, however soon or late it comes within the time limit, is
// none of the next item's.
func TestPoll_RefusalTwice(t *testing.T) {
	for after := time.Duration(0); after < time.Second; after += 20 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			s := &slave{meters: household()}
			line := &wireline{answer: func(r request, nth int) []reply {
				if r.di == "02040000" {
					return []reply{{0, s.good(r)}, {after, s.good(r)}}
				}
				return []reply{{200 * time.Millisecond, s.good(r)}}
			}}
			if err := on(t, line).want(one, []schema.Item{item("Q", "02040000", "XX.XXXX"), item("V", "02010100", "XXX.X"), item("F", "02800002", "XX.XX")},
				map[string]string{"Q": "exception", "V": "100.1", "F": "50.01"}); !errors.Is(err, collect.ErrException) {
				t.Error(err)
			}
		})
	}
}

// What a meter lacks is asked for again after a while.
func TestPoll_LackingEndsAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slave{meters: household()}
		asked := 0
		line := &wireline{answer: func(r request, _ int) []reply {
			asked++
			return []reply{{0, s.good(r)}}
		}}
		m := on(t, line)
		for range 3 * 6 { // half an hour
			_, _ = m.poll(one, item("Q", "02040000", "XX.XXXX"))
			time.Sleep(lacksFor / 6)
		}
		if asked != 3 {
			t.Errorf("asked %d times in half an hour", asked)
		}
		s.meters[one]["02040000"] = "000001"
		time.Sleep(lacksFor)
		if err := m.want(one, []schema.Item{item("Q", "02040000", "XX.XXXX")}, map[string]string{"Q": "1"}); err != nil {
			t.Error(err)
		}
	})
}

// An answer that begins in time may take its time, one byte after the other.
func TestPoll_SlowBytes(t *testing.T) {
	for gap, want := range map[time.Duration]string{20 * time.Millisecond: "100.1", 400 * time.Millisecond: "100.1", 600 * time.Millisecond: "garbled"} {
		synctest.Test(t, func(t *testing.T) {
			s := &slave{meters: household()}
			line := &wireline{answer: func(r request, _ int) []reply {
				var out []reply
				for i, b := range s.good(r)[:] {
					out = append(out, reply{900*time.Millisecond + time.Duration(min(i, 4))*gap, []byte{b}})
				}
				return out
			}}
			_ = on(t, line).want(one, shape[:1], map[string]string{"V": want})
		})
	}
}

func TestPoll_LineNeverRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &wireline{babble: 100 * time.Millisecond, answer: func(request, int) []reply { return nil }}
		began := time.Now()
		_, err := on(t, line).poll(one, shape...)
		if !errors.Is(err, collect.ErrGarbled) || line.heard != 0 {
			t.Errorf("%v after %d requests", err, line.heard)
		}
		if took := time.Since(began); took > 22*time.Second {
			t.Errorf("the line was listened to for %v", took)
		}
	})
}

// A meter that is dead from the start is asked in two polls, and then rarely;
// its neighbour is read every time.
func TestPoll_DeadNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, asked := &slave{meters: household()}, 0
		line := &wireline{answer: func(r request, _ int) []reply {
			if r.address == two {
				asked++
				return nil
			}
			return []reply{{100 * time.Millisecond, s.good(r)}}
		}}
		m := on(t, line)
		m.source.Tries = 2
		var waited time.Duration
		for range 360 { // of 10 s each, one hour
			began := time.Now()
			if got, err := m.poll(one, shape...); err != nil || !maps.Equal(got, truths[one]) {
				t.Errorf("the good meter: %v, %v", got, err)
			}
			if _, err := m.poll(two, shape...); !errors.Is(err, collect.ErrTimeout) && !errors.Is(err, collect.ErrSkipped) {
				t.Errorf("the dead meter: %v", err)
			}
			waited += time.Since(began)
			time.Sleep(10*time.Second - time.Since(began)%(10*time.Second))
		}
		// Two polls at once, then after 5 s doubling to 5 minutes: about 17 in an hour.
		if polls := asked / m.source.Tries; polls < 12 || polls > 20 {
			t.Errorf("the dead meter was polled %d times in an hour", polls)
		}
		if waited > 6*time.Minute {
			t.Errorf("%v of an hour were spent on the line", waited)
		}
	})
}

// Of those that wait for a port the most urgent is next, and who gives up isn't
// waited for.
func TestPoll_TurnsByPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slave{meters: household()}
		var order []string
		line := &wireline{answer: func(r request, _ int) []reply {
			order = append(order, r.di)
			return []reply{{100 * time.Millisecond, s.good(r)}}
		}}
		m := on(t, line)
		gone, cancel := context.WithCancel(t.Context())
		var polls sync.WaitGroup
		for _, w := range []struct {
			di       string
			priority int
			ctx      context.Context
		}{
			{"00010000", 5, t.Context()}, {"02800002", 9, t.Context()}, {"00000000", 1, gone},
			{"02010100", 5, t.Context()}, {"02060000", 1, t.Context()},
		} {
			polls.Go(func() {
				_, err := m.driver.Poll(w.ctx, collect.Request{
					Source: m.source, Meter: schema.Meter{ID: one, Address: one}, Items: []schema.Item{item("x", w.di, "XXXX")}, Priority: w.priority,
				})
				if errors.Is(err, context.Canceled) != (w.ctx == gone) {
					t.Errorf("%s: %v", w.di, err)
				}
			})
			synctest.Wait() // they come in this order
		}
		cancel()
		polls.Wait()
		if want := []string{"00010000", "02060000", "02010100", "02800002"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

// Another speed needs the line opened anew; another time limit doesn't.
func TestUse_ReopensForLineSettings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *schema.Source)
		closed bool
	}{
		"nothing":  {func(*schema.Source) {}, false},
		"timeout":  {func(s *schema.Source) { s.Timeout *= 2 }, false},
		"preamble": {func(s *schema.Source) { s.Preamble = new(int) }, false},
		"baud":     {func(s *schema.Source) { s.Baud = 9600 }, true},
		"parity":   {func(s *schema.Source) { s.Parity = "N" }, true},
		"stop":     {func(s *schema.Source) { s.Stop = 2 }, true},
		"data":     {func(s *schema.Source) { s.Data = 7 }, true},
	} {
		line, source := &wireline{}, lineSource()
		p := &port{source: source, line: line}
		c.change(&source)
		p.Use(source)
		if line.closed != c.closed || (p.line == nil) != c.closed || p.source.Timeout != source.Timeout {
			t.Errorf("%s: closed %v, want %v", name, line.closed, c.closed)
		}
	}
}

// A port knows a bounded number of meters, and of each a bounded number of gaps.
func TestPort_Bounds(t *testing.T) {
	p := &port{meters: make(map[wire.Address]*meter)}
	for i := range 2*maxMeters + 10 {
		m := p.meter(wire.Address{byte(i), byte(i >> 8)})
		m.lack(wire.DI(i), collect.ErrException, time.Time{})
		p.meter(wire.Address{}).lack(wire.DI(i), collect.ErrException, time.Time{})
		if len(p.meters) > maxMeters+1 || len(p.meter(wire.Address{}).lacks) > schema.MaxItems {
			t.Fatalf("%d meters, %d gaps", len(p.meters), len(p.meter(wire.Address{}).lacks))
		}
	}
}

// A late answer to the same question is none either: it tells of an earlier time.
func TestPoll_LateAnswerOfTheSameItem(t *testing.T) {
	for late := 50 * time.Millisecond; late < 12*time.Second; late += 50 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			line := &wireline{inOrder: true, answer: func(r request, nth int) []reply {
				after := 30 * time.Millisecond
				if nth == 1 {
					after = late
				}
				return []reply{{after, says(one, 0x91, append(backwards(r.di), byte(nth), 0)...)}} // tells which request it answers
			}}
			m := on(t, line)
			right := 0
			for range 9 {
				got, _ := m.poll(one, item("n", "02800002", "XXXX"))
				switch {
				case got["n"] == strconv.Itoa(line.heard-1):
					right++
				case got["n"] != "timeout" && got["n"] != "garbled" && got["n"] != "skipped":
					t.Errorf("late by %v: request %d got the answer to %s", late, line.heard-1, got["n"])
				}
				time.Sleep(2 * time.Second)
			}
			if right < 4 {
				t.Errorf("late by %v: %d right answers", late, right)
			}
		})
	}
}

// A copy of a part isn't taken for the next part, nor the first frame's.
func TestPoll_FollowUpsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home := household()
		home[one]["0001FF00"] = "010000000200000003000000040000000500000006000000"
		s := &slave{meters: home, chunk: 4}
		line := &wireline{answer: func(r request, _ int) []reply {
			return []reply{{200 * time.Millisecond, s.good(r)}, {300 * time.Millisecond, s.good(r)}}
		}}
		items := []schema.Item{item("E", "00010000", "XXXXXX.XX"), item("E2", "00010200", "XXXXXX.XX"), item("E5", "00010500", "XXXXXX.XX")}
		if err := on(t, line).want(one, items, map[string]string{"E": "0.01", "E2": "0.03", "E5": "0.06"}); err != nil {
			t.Error(err)
		}
	})
}
