package station

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"gnomon/edge/collect/q376/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// master is a bare concentrator, that asks and takes what comes.
type master struct {
	t       *testing.T
	conn    net.Conn
	frames  chan []byte
	last    []byte
	counter byte
}

// attach puts a master to an area; both end with the test.
func attach(t *testing.T, s *Station) *master {
	t.Helper()
	ours, theirs := net.Pipe()
	go s.Attach(theirs)
	m := &master{t: t, conn: ours, frames: make(chan []byte, 1024)}
	go func() {
		defer close(m.frames)
		buf := make([]byte, 4096)
		for {
			n, err := ours.Read(buf) // a pipe gives one frame at a time
			if err != nil {
				return
			}
			m.frames <- slices.Clone(buf[:n])
		}
	}()
	t.Cleanup(func() {
		s.Close()
		ours.Close()
		for range m.frames {
			continue
		}
	})
	return m
}

func (m *master) write(frame []byte) {
	m.t.Helper()
	if _, err := m.conn.Write(frame); err != nil {
		m.t.Fatal(err)
	}
}

// settle waits until everything that follows at once has happened.
func (m *master) settle() { synctest.Wait() }

// next is the next frame that comes within a while; nil if none does.
func (m *master) next(within time.Duration) *wire.Frame {
	m.t.Helper()
	select {
	case b, ok := <-m.frames:
		if !ok {
			return nil
		}
		m.last = b
		var f wire.Frame
		if err := f.Decode(b); err != nil {
			m.t.Fatalf("%X: %v", b, err)
		}
		return &f
	case <-time.After(within):
		return nil
	}
}

// ask says a frame and waits for the next.
func (m *master) ask(frame []byte) *wire.Frame {
	m.t.Helper()
	m.write(frame)
	return m.next(2 * time.Minute)
}

// command says something to the CCO itself.
func (m *master) command(afn wire.AFN, fn wire.Fn, data []byte) *wire.Frame {
	m.t.Helper()
	m.counter++
	out, err := (&wire.Frame{Control: wire.HPLC.Request(), Info: wire.Down{Sequence: m.counter}.Info(), AFN: afn, Fn: fn, Data: data}).Append(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.ask(out)
}

func (m *master) add(meter string, p wire.Protocol) {
	m.t.Helper()
	data, err := wire.AppendNodes(nil, []wire.Node{{Address: address(m.t, meter), Protocol: p}})
	if err != nil {
		m.t.Fatal(err)
	}
	if got := brief(m.command(wire.AFNRouteSet, 1, data)); got != "00 F1" {
		m.t.Fatalf("adding %s: %s", meter, got)
	}
}

// read begins to read n times the same of a meter, and returns the sequence.
func (m *master) read(meter *Meter, n int) byte {
	m.t.Helper()
	m.counter++
	r := wire.ConcurrentRead{Protocol: wire.DLT645}
	for range n {
		r.Content = append(r.Content, frame645(m.t, meter.Digits(), 0x11, "00010000")...)
	}
	data, err := r.Append(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	f := wire.Frame{Control: wire.HPLC.Request(), Info: wire.Down{Address: true, Sequence: m.counter}.Info(), Destination: meter.Address, AFN: wire.AFNConcurrent, Fn: 1, Data: data}
	out, err := f.Append(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write(out)
	return m.counter
}

// brief tells a frame's kind, and the code of a denial.
func brief(f *wire.Frame) string {
	if f == nil {
		return "nothing"
	}
	text := fmt.Sprintf("%02X %s", byte(f.AFN), f.Fn)
	if err := f.Denied(); err != nil {
		text += fmt.Sprintf(" %02X", f.Data)
	}
	return text
}

// area is an area in virtual time whose archive is complete.
func area(t *testing.T, cfg Config) (*Station, *master) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := attach(t, s)
	for _, meter := range s.Meters() {
		m.add(meter.Digits(), meter.Protocol)
	}
	return s, m
}

// An answer takes the way there and back, and the meter its time for each frame;
// nothing else.
func TestConcurrent_Time(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, m := area(t, Config{Meters: 7, Branches: 1, HopDelay: 100 * time.Millisecond, MeterDelay: 300 * time.Millisecond})
		for _, c := range []struct {
			meter, frames int
			want          time.Duration
		}{{1, 1, 500 * time.Millisecond}, {1, 13, 4100 * time.Millisecond}, {7, 2, 2 * time.Second}} {
			began := time.Now()
			m.read(s.Meters()[c.meter-1], c.frames)
			got := m.next(time.Minute)
			if took := time.Since(began); brief(got) != "F1 F1" || took != c.want {
				t.Errorf("meter %d, %d frames: %s after %v, want %v", c.meter, c.frames, brief(got), took, c.want)
			}
			var reply wire.ConcurrentReply
			if err := reply.Decode(got.Data); err != nil {
				t.Fatal(err)
			}
			if n, err := wire.MeterFrames(wire.DLT645, reply.Content); n != c.frames || err != nil {
				t.Errorf("%d frames, %v, want %d", n, err, c.frames)
			}
		}
	})
}

func TestConcurrent_Limits(t *testing.T) {
	for _, vendor := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			s, m := area(t, Config{Meters: 25, VendorCodes: vendor})
			codes := map[wire.Deny]byte{wire.DenyTooManyMeters: 109, wire.DenyTooManyFrames: 110, wire.DenyMeterBusy: 111}
			if vendor {
				codes = map[wire.Deny]byte{wire.DenyTooManyMeters: 13, wire.DenyTooManyFrames: 14, wire.DenyMeterBusy: 15}
			}
			denied := func(what string, code wire.Deny) {
				t.Helper()
				f := m.next(time.Millisecond)
				if f == nil || !errors.Is(f.Denied(), code) || f.Data[0] != codes[code] {
					t.Errorf("%s: %s, want code %d", what, brief(f), codes[code])
				}
			}
			m.read(s.Meters()[0], 14)
			m.settle()
			denied("14 frames", wire.DenyTooManyFrames)
			for _, meter := range s.Meters()[:20] {
				m.read(meter, 1)
			}
			m.settle()
			m.read(s.Meters()[3], 1)
			m.settle()
			denied("a meter twice", wire.DenyMeterBusy)
			m.read(s.Meters()[20], 1)
			m.settle()
			denied("21 meters", wire.DenyTooManyMeters)
			for range 20 {
				if f := m.next(time.Minute); brief(f) != "F1 F1" {
					t.Errorf("%s", brief(f))
				}
			}
			if st := s.Status(); st.Most != 20 || st.InFlight != 0 || st.Answered != 20 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A dead meter fails when the CCO gives up; once it is back it is read.
func TestConcurrent_DeadForAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, m := area(t, Config{Meters: 2, Dead: []Outage{{First: 2, Last: 2, From: time.Minute, To: 4 * time.Minute}}})
		for _, want := range []struct {
			failed bool
			took   time.Duration
		}{{false, 370 * time.Millisecond}, {true, 90 * time.Second}, {true, 90 * time.Second}, {false, 370 * time.Millisecond}} {
			began := time.Now()
			m.read(s.Meters()[1], 1)
			f := m.next(5 * time.Minute)
			var reply wire.ConcurrentReply
			if err := reply.Decode(f.Data); err != nil || reply.Failed() != want.failed || time.Since(began) != want.took || f.Source != s.Meters()[1].Address {
				t.Errorf("%v: %+v after %v, want %+v", err, reply, time.Since(began), want)
			}
			time.Sleep(65*time.Second - min(65*time.Second, time.Since(began)))
		}
	})
}

// Loss costs repetitions, follows from the seed, and is about what was asked for.
func TestConcurrent_Loss(t *testing.T) {
	lost := func(t *testing.T, seed uint64) (n int) {
		inBubble(t, func(t *testing.T) {
			s, m := area(t, Config{Meters: 10, Loss: 0.1, Seed: seed})
			for range 50 {
				for _, meter := range s.Meters() {
					m.read(meter, 1)
				}
				for range s.Meters() {
					m.next(time.Hour)
				}
			}
			st := s.Status()
			if st.Answered+st.Failed != 500 || st.Failed > 2 {
				t.Errorf("%+v", st)
			}
			n = st.Lost
		})
		return n
	}
	first := lost(t, 7)
	if again := lost(t, 7); again != first {
		t.Errorf("seed 7 loses %d, then %d", first, again)
	}
	if first < 30 || first > 80 {
		t.Errorf("%d of 500 reads lost, the chance is 0.1", first)
	}
}

// A CCO that restarts forgets what it was reading, keeps its archive, and says so.
func TestRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, m := area(t, Config{Meters: 3})
		m.command(wire.AFNRouteControl, 2, nil)
		m.read(s.Meters()[0], 1)
		m.settle()
		s.Restart()
		f := m.next(time.Minute)
		var mode wire.RunMode
		if brief(f) != "03 F10" || !f.Control.Primary() || mode.Decode(f.Data) != nil || mode.Nodes != 3 {
			t.Errorf("%s: %+v", brief(f), mode)
		}
		if f := m.next(5 * time.Minute); f != nil {
			t.Errorf("%s of a read that was forgotten", brief(f))
		}
		if st := s.Status(); !st.Routing || st.InFlight != 0 || st.Archive != 3 {
			t.Errorf("%+v", st)
		}
	})
}

// A CCO that routes asks what to read, until nothing more is wanted or it pauses.
func TestRouting_Asks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, m := area(t, Config{Meters: 3, Ask: time.Second})
		asked := map[wire.Address]int{}
		for f := m.next(10 * time.Second); f != nil; f = m.next(10 * time.Second) {
			var q wire.ReadQuery
			if f.AFN == wire.AFNReport {
				var r wire.ReadReport
				if f.Fn != 2 || r.Decode(f.Data) != nil || len(r.Content) == 0 {
					t.Errorf("%s %+v", brief(f), r)
				}
				continue
			}
			if f.AFN != wire.AFNRouteRead || q.Decode(f.Data) != nil {
				t.Fatalf("%s", brief(f))
			}
			asked[q.Meter]++
			a := wire.ReadAnswer{Verdict: wire.ReadDone}
			if q.Meter == s.Meters()[1].Address {
				a = wire.ReadAnswer{Verdict: wire.ReadThis, Content: frame645(t, q.Meter.String(), 0x11, "00010000")}
			}
			data, err := a.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			out, err := (&wire.Frame{Control: wire.HPLC.Answer(), Info: wire.Down{Sequence: f.Info.Sequence()}.Info(), AFN: f.AFN, Fn: 1, Data: data}).Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			m.write(out)
		}
		if len(asked) != 3 || asked[s.Meters()[0].Address] != 1 {
			t.Errorf("asked %v", asked)
		}
	})
}

func TestNew_Refuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no meters": {}, "too many": {Meters: 1001}, "loss": {Meters: 1, Loss: 1}, "share": {Meters: 1, Share698: 2},
		"outage of nobody": {Meters: 1, Dead: []Outage{{First: 2, Last: 2}}}, "outage backwards": {Meters: 1, Dead: []Outage{{First: 1, Last: 1, From: 2, To: 1}}},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Shares are met, addresses differ, and the tree is one.
func TestNew_Population(t *testing.T) {
	s, err := New(Config{Meters: 1000, Share698: 0.3, ThreePhase: 0.1, Drift: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen, of698, three := map[wire.Address]bool{}, 0, 0
	for _, m := range s.Meters() {
		seen[m.Address] = true
		if m.Protocol == wire.DLT698 {
			of698++
		}
		if m.Phases == 3 {
			three++
		}
		if m.Parent >= m.Number || m.drift < -time.Minute || m.drift > time.Minute {
			t.Errorf("%+v", m)
		}
	}
	if deepest := s.Status().Deepest; len(seen) != 1000 || of698 != 300 || three != 100 || deepest != 4 {
		t.Errorf("%d addresses, %d of DL/T 698.45, %d three-phase, %d hops", len(seen), of698, three, deepest)
	}
}
