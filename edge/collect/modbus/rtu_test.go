package modbus

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// wire is a line in virtual time: what is said on it, and when, follows from
// what is written.
type wire struct {
	babble time.Duration                       // a byte comes this often, for ever; 0 = none
	answer func(request []byte, nth int) []say // counted from 0
	orders bool                                // requests are worked off one after the other, as a device does
	heard  int
	last   time.Time
	due    []say
	closed bool
}

// say is a piece of what arrives, at a time.
type say struct {
	after time.Duration // from the request
	frame []byte
	at    time.Time
}

func (w *wire) Read(p []byte, deadline time.Time) (int, error) {
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

func (w *wire) Write(p []byte, _ time.Time) error {
	for _, s := range w.answer(p, w.heard) {
		s.at = time.Now().Add(s.after)
		if w.orders && s.at.Before(w.last) {
			s.at = w.last.Add(s.after)
		}
		w.last = s.at
		w.due = append(w.due, s)
	}
	slices.SortStableFunc(w.due, func(a, b say) int { return a.at.Compare(b.at) })
	w.heard++
	return nil
}

func (w *wire) Close() error { w.closed = true; return nil }

// answerTo is the good answer to a request for registers.
func answerTo(request []byte) []byte {
	s := &slave{rtu: true}
	return s.good(question{unit: request[0], function: request[1], address: int(request[2])<<8 | int(request[3]), quantity: int(request[4])<<8 | int(request[5])})
}

func prompt(request []byte, _ int) []say { return []say{{frame: answerTo(request)}} }

func lineSource() schema.Source {
	return schema.Source{Kind: schema.SourceModbusRTU, Port: "/dev/none", Baud: 9600, Data: 8, Parity: "N", Stop: 1, Timeout: schema.Duration(time.Second), Tries: 1}
}

func TestSend_LineNeverRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &wire{babble: 100 * time.Millisecond, answer: prompt}
		transport := &rtu{source: lineSource(), line: line, suspect: true}
		began := time.Now()
		_, err := transport.Send([]byte{1, 3, 0, 0, 0, 1, 0, 0})
		if !errors.Is(err, collect.ErrGarbled) || line.heard != 0 {
			t.Errorf("%v after %d requests", err, line.heard)
		}
		if took := time.Since(began); took > 22*time.Second {
			t.Errorf("the line was listened to for %v", took)
		}
	})
}

// Whenever a late answer comes, it is never taken for that of the next request,
// and a line that behaves again is believed again. A device answers in order. A
// serial server may not: there, four time limits is as late as can be told.
func TestSend_LateAnswerAtAnyTime(t *testing.T) {
	for late := 50 * time.Millisecond; late < 12*time.Second; late += 50 * time.Millisecond {
		for _, inOrder := range []bool{true, false} {
			if !inOrder && late > 4*time.Second {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				line := &wire{orders: inOrder, answer: func(request []byte, nth int) []say {
					if nth == 1 {
						return []say{{after: late, frame: answerTo(request)}}
					}
					return []say{{after: 20 * time.Millisecond, frame: answerTo(request)}}
				}}
				checkLate(t, line, late)
			})
		}
	}
}

func checkLate(t *testing.T, line *wire, late time.Duration) {
	t.Helper()
	transport := &rtu{source: lineSource(), line: line}
	const requests = 12
	good := 0
	for address := range byte(requests) {
		request := []byte{1, 3, 0, address, 0, 1, 0, 0}
		frame, err := transport.Send(request)
		if err != nil {
			continue
		}
		good++
		if !slices.Equal(frame, answerTo(request)) {
			t.Errorf("late by %v: request %d got another's answer", late, address)
		}
	}
	// A failed request takes three time limits: one to wait, two to come to rest.
	if lost := 2 + int(late/(3*time.Second)); good < requests-lost {
		t.Errorf("late by %v: %d good answers to %d requests", late, good, requests)
	}
}

// A unit that is dead from the start is asked in two polls, and then rarely; its
// neighbour is read every time.
func TestPoll_DeadNeighbourInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		line := &wire{answer: func(request []byte, nth int) []say {
			if request[0] == 2 {
				asked++
				return nil
			}
			return prompt(request, nth)
		}}
		source := lineSource()
		source.Tries, source.MaxHole = 2, new(int)
		d := New()
		d.newPort = func(s schema.Source) *port { return newPortOn(s, &rtu{source: s, line: line, suspect: true}) }
		m := &master{t: t, driver: d, source: source}
		const rounds = 360 // of 10 s each, one hour
		var waited time.Duration
		for range rounds {
			began := time.Now()
			if _, ok, err := m.poll(1, sameShape); !ok {
				t.Errorf("the good unit: %v", err)
			}
			if _, ok, err := m.poll(2, sameShape); ok || !errors.Is(err, collect.ErrTimeout) && !errors.Is(err, collect.ErrSkipped) {
				t.Errorf("the dead unit: %v", err)
			}
			waited += time.Since(began)
			time.Sleep(10*time.Second - time.Since(began)%(10*time.Second))
		}
		// Two polls at once, then after 5 s doubling to 5 minutes: about 17 in an hour.
		if polls := asked / source.Tries; polls < 12 || polls > 20 {
			t.Errorf("the dead unit was polled %d times in an hour", polls)
		}
		if waited > 5*time.Minute {
			t.Errorf("%v of an hour were spent on the line", waited)
		}
		d.Release(source)
	})
}

func TestSend_PauseBetweenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := lineSource()
		source.Pause = schema.Duration(300 * time.Millisecond)
		transport := &rtu{source: source, line: &wire{answer: prompt}}
		began := time.Now()
		for range 4 {
			if _, err := transport.Send([]byte{1, 3, 0, 0, 0, 1, 0, 0}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 900*time.Millisecond {
			t.Errorf("4 requests took %v, want three pauses", took)
		}
	})
}

// Another speed needs the line opened anew; another time limit doesn't.
func TestUse_ReopensForLineSettings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *schema.Source)
		closed bool
	}{
		"nothing": {func(*schema.Source) {}, false},
		"timeout": {func(s *schema.Source) { s.Timeout *= 2 }, false},
		"tries":   {func(s *schema.Source) { s.Tries++ }, false},
		"baud":    {func(s *schema.Source) { s.Baud = 19200 }, true},
		"parity":  {func(s *schema.Source) { s.Parity = "E" }, true},
		"stop":    {func(s *schema.Source) { s.Stop = 2 }, true},
		"data":    {func(s *schema.Source) { s.Data = 7 }, true},
	} {
		line, source := &wire{answer: prompt}, lineSource()
		transport := &rtu{source: source, line: line}
		p := newPortOn(source, transport)
		c.change(&source)
		p.Use(source)
		if line.closed != c.closed || (transport.line == nil) != c.closed || transport.source.Timeout != source.Timeout {
			t.Errorf("%s: closed %v, want %v", name, line.closed, c.closed)
		}
	}
}
