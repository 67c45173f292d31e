package station

import (
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/q376/wire"
)

// faults spoil what the CCO says to a concurrent read.
var faults = map[string]func(s *Station, request *wire.Frame, good []byte) []Said{
	"lost":      func(*Station, *wire.Frame, []byte) []Said { return nil },
	"late":      func(_ *Station, _ *wire.Frame, good []byte) []Said { return []Said{{2 * time.Minute, good}} },
	"very late": func(_ *Station, _ *wire.Frame, good []byte) []Said { return []Said{{5 * time.Minute, good}} },
	"twice":     func(_ *Station, _ *wire.Frame, good []byte) []Said { return []Said{{0, good}, {0, good}} },
	"again later": func(_ *Station, _ *wire.Frame, good []byte) []Said {
		return []Said{{0, good}, {700 * time.Millisecond, good}, {time.Minute, good}}
	},
	"glued": func(_ *Station, _ *wire.Frame, good []byte) []Said { return []Said{{0, slices.Concat(good, good)}} },
	"in pieces": func(_ *Station, _ *wire.Frame, good []byte) []Said {
		return []Said{{0, good[:5]}, {50 * time.Millisecond, good[5:9]}, {90 * time.Millisecond, good[9:]}}
	},
	"behind noise": func(_ *Station, _ *wire.Frame, good []byte) []Said {
		return []Said{{0, append([]byte{0, 0x16, 0xff}, good...)}}
	},
	"behind a start": func(_ *Station, _ *wire.Frame, good []byte) []Said {
		return []Said{{0, append([]byte{0x68, 0x30, 0x00}, good...)}}
	},
	"cut": func(_ *Station, _ *wire.Frame, good []byte) []Said { return []Said{{0, good[:len(good)-4]}} },
	"corrupted": func(_ *Station, _ *wire.Frame, good []byte) []Said {
		bad := slices.Clone(good)
		bad[len(bad)/2] ^= 0x04
		return []Said{{0, bad}}
	},
	"another sequence": changed(func(f *wire.Frame) { f.Info = wire.Up{Address: true, Sequence: f.Info.Sequence() + 1}.Info() }),
	"another meter":    changed(func(f *wire.Frame) { f.Source[0] ^= 0x01 }),
	"another meter's frames": changed(func(f *wire.Frame) {
		for at := range f.Data { // the address within the first carried frame
			if f.Data[at] == 0x68 && at+7 < len(f.Data) {
				f.Data[at+1] ^= 0x01
				break
			}
		}
	}),
	"another function": changed(func(f *wire.Frame) { f.AFN = wire.AFNMonitor }),
	"another protocol": changed(func(f *wire.Frame) { f.Data[0] ^= 1 }),
	"no frames":        changed(func(f *wire.Frame) { f.Data = []byte{f.Data[0], 0, 0} }),
	"fewer frames": changed(func(f *wire.Frame) {
		var r wire.ConcurrentReply
		if r.Decode(f.Data) == nil {
			if m, rest, err := wire.NextMeterFrame(r.Protocol, r.Content); err == nil && len(rest) > 0 {
				r.Content = rest
				_ = m
			}
			f.Data, _ = r.Append(nil)
		}
	}),
	"shuffled frames": changed(func(f *wire.Frame) {
		var r wire.ConcurrentReply
		if r.Decode(f.Data) == nil {
			if m, rest, err := wire.NextMeterFrame(r.Protocol, r.Content); err == nil {
				r.Content = slices.Concat(rest, m.Bytes)
			}
			f.Data, _ = r.Append(nil)
		}
	}),
	"a confirmation": changed(func(f *wire.Frame) {
		f.AFN, f.Fn, f.Data = wire.AFNConfirm, 1, wire.ConfirmDone.Append(nil)
	}),
	"denied: busy":           deniedWith(wire.DenyBusy),
	"denied: timeout":        deniedWith(wire.DenyTimeout),
	"denied: format":         deniedWith(wire.DenyFormat),
	"denied: no meter":       deniedWith(wire.DenyUnknownMeter),
	"denied: no node answer": deniedWith(wire.DenyNoNodeAnswer),
	"denied: not in network": deniedWith(wire.DenyNotInNetwork),
	"denied: checksum":       deniedWith(wire.DenyChecksum),
	"denied: too many":       deniedWith(wire.DenyTooManyMeters),
	"denied: too long":       deniedWith(wire.DenyTooManyFrames),
	"denied: meter busy":     deniedWith(wire.DenyMeterBusy),
	"denied: vendor's code":  deniedWith(15),
	"denied: reserved code":  deniedWith(77),
	"denied: no such Fn":     deniedWith(wire.DenyFn),
	"restarts": func(s *Station, _ *wire.Frame, _ []byte) []Said {
		s.Restart()
		return nil
	},
	"hangs up": func(s *Station, _ *wire.Frame, _ []byte) []Said {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.line != nil {
			s.line.conn.Close()
		}
		return nil
	},
}

// changed is a fault that says something else than the good answer.
func changed(change func(f *wire.Frame)) func(*Station, *wire.Frame, []byte) []Said {
	return func(_ *Station, _ *wire.Frame, good []byte) []Said {
		var f wire.Frame
		if f.Decode(slices.Clone(good)) != nil {
			return nil
		}
		change(&f)
		out, err := f.Append(nil)
		if err != nil {
			return nil
		}
		return []Said{{0, out}}
	}
}

func deniedWith(code wire.Deny) func(*Station, *wire.Frame, []byte) []Said {
	return func(_ *Station, request *wire.Frame, _ []byte) []Said {
		f := wire.Frame{Control: wire.HPLC.Reply(), Info: wire.Up{Sequence: request.Info.Sequence()}.Info(), AFN: wire.AFNConfirm, Fn: 2, Data: []byte{byte(code)}}
		out, err := f.Append(nil)
		if err != nil {
			return nil
		}
		return []Said{{0, out}}
	}
}

// harmless are the faults that cost no value.
var harmless = []string{
	"twice", "again later", "glued", "in pieces", "behind noise", "shuffled frames", "fewer frames",
	"denied: no meter", "denied: too long", "restarts", "hangs up", "denied: no such Fn", "another meter's frames", "no frames",
	"a confirmation", "another protocol", "denied: busy", "denied: timeout", "denied: no node answer", "denied: not in network", "denied: checksum",
	"denied: too many", "denied: meter busy", "denied: vendor's code",
}

// Whatever the CCO does with the nth answer, no value is wrong; most of it costs
// none either; and a CCO that behaves again is believed again. What it does to
// every answer costs a bounded time.
func TestDriver_Faults(t *testing.T) {
	for name, spoil := range faults {
		for when, hit := range map[string]func(n int) bool{
			"once":       func(n int) bool { return n == 2 },
			"thrice":     func(n int) bool { return n >= 2 && n <= 4 },
			"every time": func(n int) bool { return true },
		} {
			inBubble(t, func(t *testing.T) {
				var area *Station
				var reads atomic.Int64
				cfg := Config{Meters: 6, Share698: 0.34, Fault: func(_ int, request *wire.Frame, good []byte) []Said {
					if request.AFN == wire.AFNConcurrent && hit(int(reads.Add(1)-1)) {
						return spoil(area, request, good)
					}
					return []Said{{0, good}}
				}}
				r := newRig(t, cfg, `,"parallel":3`)
				area = r.area
				report := r.cycle()
				if report.Cycle.Duration > 14*time.Minute+20*time.Second {
					t.Errorf("%s/%s: a cycle of %v", name, when, report.Cycle.Duration)
				}
				if when == "every time" {
					return
				}
				if when == "once" && slices.Contains(harmless, name) && report.Cycle.Success != 6 {
					t.Errorf("%s/%s: %+v", name, when, report.Cycle)
				}
				time.Sleep(6 * time.Minute) // a meter may be left out for a while, or a sequence
				if report := r.cycle(); report.Cycle.Success != 6 {
					t.Errorf("%s/%s: afterwards %+v", name, when, report.Cycle)
				}
			})
		}
	}
}

// Whenever a late answer comes, it is never taken for another's.
func TestDriver_LateAtAnyTime(t *testing.T) {
	for late := 91 * time.Second; late < 12*time.Minute; late += 47 * time.Second {
		inBubble(t, func(t *testing.T) {
			var reads atomic.Int64
			now := noon
			r := newRig(t, Config{Meters: 3, Now: func() time.Time { return now }, Fault: func(_ int, request *wire.Frame, good []byte) []Said {
				if request.AFN == wire.AFNConcurrent && reads.Add(1) == 2 {
					return []Said{{late, good}}
				}
				return []Said{{0, good}}
			}}, "")
			for range 400 { // more than there are sequences; what was read before is wrong by now
				for n := range 2 {
					_, err := r.poll(n + 1)
					if err != nil && !errors.Is(err, collect.ErrTimeout) && !errors.Is(err, collect.ErrSkipped) && !errors.Is(err, collect.ErrBusy) {
						t.Errorf("late by %v: %v", late, err)
					}
				}
				now = now.Add(time.Minute)
			}
		})
	}
}

// A line that was cut is opened again, with the archive kept and the routing
// paused; one that can't be opened costs a cycle little.
func TestDriver_Reconnects(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 40}, "")
		go func() {
			for r.area.Status().Answered < 15 {
				time.Sleep(100 * time.Millisecond)
			}
			r.refuse = 3
			r.area.mu.Lock()
			r.area.line.conn.Close()
			r.area.mu.Unlock()
		}()
		report := r.cycle()
		if report.Cycle.Success != 40 || r.opened != 2 {
			t.Errorf("opened %d times: %+v", r.opened, report.Cycle)
		}
		if st := r.area.Status(); !st.Routing || st.Archive != 40 {
			t.Errorf("%+v", st)
		}
	})
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 40}, "")
		r.refuse = 1 << 30
		report := r.cycle()
		if report.Cycle.Success != 0 || report.Cycle.Duration > 2*time.Minute {
			t.Errorf("%+v", report.Cycle)
		}
		if reading := report.Readings["m7"]["EImport"]; reading.Reason != "link" {
			t.Errorf("%+v", reading)
		}
		r.refuse = 0
		if report = r.cycle(); report.Cycle.Success != 40 {
			t.Errorf("afterwards %+v", report.Cycle)
		}
	})
}

// A CCO that falls silent is noticed, not waited for with every meter.
func TestDriver_SilentCCO(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var silent atomic.Bool
		r := newRig(t, Config{Meters: 40, Fault: func(_ int, _ *wire.Frame, good []byte) []Said {
			if silent.Load() {
				return nil
			}
			return []Said{{0, good}}
		}}, "")
		silent.Store(true)
		report := r.cycle()
		if report.Cycle.Success != 0 || report.Cycle.Duration > 3*time.Minute {
			t.Errorf("%+v", report.Cycle)
		}
		silent.Store(false)
		if report = r.cycle(); report.Cycle.Success != 40 {
			t.Errorf("afterwards %+v", report.Cycle)
		}
	})
}

// A CCO that restarts in the middle of a cycle costs none of its values; a second
// master that takes the line over costs time.
func TestDriver_RestartInACycle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 40}, "")
		go func() {
			for r.area.Status().Answered < 15 {
				time.Sleep(100 * time.Millisecond)
			}
			r.area.mu.Lock()
			r.area.archive = nil // it has lost everything
			r.area.mu.Unlock()
			r.area.Restart()
		}()
		report := r.cycle()
		if st := r.area.Status(); report.Cycle.Success != 40 || st.Restarts != 1 || st.Confirmed < 1 || st.Archive != 40 {
			t.Errorf("%+v, %+v", report.Cycle, st)
		}
	})
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 40}, "")
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			for r.area.Status().Answered < 15 {
				time.Sleep(100 * time.Millisecond)
			}
			r.area.Attach(theirs)
		}()
		if report := r.cycle(); report.Cycle.Success < 35 {
			t.Errorf("%+v", report.Cycle)
		}
	})
}

// A CCO that asks what to read is told: nothing.
func TestDriver_CCOAsks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Config{Meters: 20, Ask: time.Second}, "")
		if report := r.cycle(); report.Cycle.Success != 20 {
			t.Errorf("%+v", report.Cycle)
		}
		time.Sleep(time.Minute)
		r.area.mu.Lock()
		defer r.area.mu.Unlock()
		if len(r.area.done) != 20 || len(r.area.status.Denied) > 0 {
			t.Errorf("%d meters are done with, denied %v", len(r.area.done), r.area.status.Denied)
		}
	})
}

// Dead meters cost the living nothing, and are found when they come back.
func TestDriver_DeadMeters(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		start := time.Now()
		r := newRig(t, Config{Meters: 50, Now: func() time.Time { return noon.Add(time.Since(start) / 100000) },
			Dead: []Outage{{First: 1, Last: 20}}}, "")
		alone := newRig(t, Config{Meters: 30}, "")
		limit := alone.cycle().Cycle.Duration
		first := r.cycles(2)
		if first.Cycle.Success != 30 || first.Cycle.Overruns != 0 {
			t.Errorf("%+v", first.Cycle)
		}
		latest := time.Time{}
		for _, m := range r.policy.Meters[20:] {
			if at := first.Readings[m.ID]["EImport"].At; at.After(latest) {
				latest = at
			}
		}
		if took := latest.Sub(first.Cycle.At); took > limit+20*time.Second {
			t.Errorf("the living were read after %v, without dead ones it takes %v", took, limit)
		}
		r.area.cfg.Dead = nil
		time.Sleep(5 * time.Minute)
		if report := r.cycles(2); report.Cycle.Success != 50 {
			t.Errorf("afterwards %+v", report.Cycle)
		}
	})
}
