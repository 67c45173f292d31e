package station

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645"
	"gnomon/edge/collect/dlt698"
	"gnomon/edge/collect/medium"
	"gnomon/edge/collect/modbus"
	"gnomon/edge/collect/q376/wire"
	"gnomon/schema"
)

// bus is a serial line in virtual time with meters on it: bytes take their time,
// and so do meters until they begin to answer.
type bus struct {
	source schema.Source
	reply  time.Duration
	answer func(request []byte) []byte
	due    time.Time
	said   []byte
}

func (b *bus) airtime(n int) time.Duration {
	bits := 1 + b.source.Data + b.source.Stop
	if b.source.Parity != "N" {
		bits++
	}
	return time.Duration(n*bits) * time.Second / time.Duration(b.source.Baud)
}

func (b *bus) Write(p []byte, _ time.Time) error {
	b.said = b.answer(p)
	b.due = time.Now().Add(b.airtime(len(p)) + b.reply)
	return nil
}

// Read gives one byte after the other.
func (b *bus) Read(p []byte, deadline time.Time) (int, error) {
	if len(b.said) == 0 || b.due.After(deadline) {
		time.Sleep(time.Until(deadline))
		return 0, medium.ErrSilence
	}
	b.due = b.due.Add(b.airtime(1))
	time.Sleep(time.Until(b.due))
	p[0] = b.said[0]
	b.said = b.said[1:]
	return 1, nil
}

func (b *bus) Close() error { return nil }

// registers answers functions 3 and 4 of Modbus with zeros.
func registers(request []byte) []byte {
	n := int(binary.BigEndian.Uint16(request[4:])) * 2
	out := append([]byte{request[0], request[1], byte(n)}, make([]byte, n)...)
	crc := uint16(0xffff)
	for _, c := range out {
		crc ^= uint16(c)
		for range 8 {
			odd := crc&1 != 0
			if crc >>= 1; odd {
				crc ^= 0xa001
			}
		}
	}
	return binary.LittleEndian.AppendUint16(out, crc)
}

// household answers for whichever of some meters is asked.
func household(meters []*Meter) func([]byte) []byte {
	return func(request []byte) []byte {
		for _, m := range meters {
			if out := m.Answer(request, noon); out != nil {
				return out
			}
		}
		return nil
	}
}

// steady runs cycles by the real engine until the second, which doesn't open the
// line any more, and returns it.
func steady(t *testing.T, p *schema.Policy, d collect.Driver) collect.Cycle {
	t.Helper()
	e := collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{p.Source.Kind: d}, Now: today})
	if err := e.Apply("p", 1, p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { _ = e.Run(ctx); close(ended) }()
	report, _ := e.Report("p")
	for report.Cycles < 2 {
		<-e.Changed()
		report, _ = e.Report("p")
	}
	cancel()
	<-ended
	d.Release(p.Source)
	return report.Cycle
}

// compare holds what a policy is said to need against what it took.
func compare(t *testing.T, name string, p *schema.Policy, pace schema.Pace, took collect.Cycle) {
	t.Helper()
	need := p.BusTime(pace)
	if took.Success != took.Meters {
		t.Errorf("%s: %+v", name, took)
	}
	if need.Requests != took.Frames {
		t.Errorf("%s: %d requests, said to be %d", name, took.Frames, need.Requests)
	}
	if off := float64(need.Slot)/float64(took.Duration) - 1; math.Abs(off) > 0.1 {
		t.Errorf("%s: took %v, said to take %v (%+.1f %%)", name, took.Duration, need.Slot, 100*off)
	}
}

// What a policy is said to need of a serial line is what reading takes.
func TestBusTime_SerialLines(t *testing.T) {
	for _, c := range []struct {
		name, source, model string
		meters              int
		reply               time.Duration
	}{
		{"DL/T 645 at 2400", `"kind":"dlt645"`, "dlt645-1p", 8, 100 * time.Millisecond},
		{"DL/T 645 at 9600", `"kind":"dlt645","baud":9600,"preamble":0`, "dlt645-3p", 20, 20 * time.Millisecond},
		{"DL/T 645 with a pause", `"kind":"dlt645","pause":"50ms"`, "dlt645-1p", 8, 30 * time.Millisecond},
		{"DL/T 698.45", `"kind":"dlt698"`, "dlt698-3p", 12, 100 * time.Millisecond},
		{"DL/T 698.45 in small frames", `"kind":"dlt698","maxFrame":150,"baud":2400`, "dlt698-1p", 4, 30 * time.Millisecond},
		{"Modbus at 9600", `"kind":"modbus-rtu"`, "sdm630", 10, 30 * time.Millisecond},
		{"Modbus without holes", `"kind":"modbus-rtu","maxHole":0,"baud":2400,"parity":"E"`, "sdm630", 3, 10 * time.Millisecond},
	} {
		inBubble(t, func(t *testing.T) {
			area, err := New(Config{Meters: c.meters, Share698: share698(c.model), ThreePhase: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer area.Close()
			var meters []string
			for i, m := range area.Meters() {
				where := fmt.Sprintf(`"address":%q`, m.Digits())
				if c.model == "sdm630" {
					where = fmt.Sprintf(`"unit":%d`, i+1)
				}
				meters = append(meters, fmt.Sprintf(`{"id":"m%d",%s,"model":%q}`, i, where, c.model))
			}
			text := `{"period":"10m","source":{"port":"/dev/none",` + c.source + `},"meters":[`
			for i, m := range meters {
				if i > 0 {
					text += ","
				}
				text += m
			}
			p, err := schema.ParsePolicy([]byte(text + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			line := &bus{source: p.Source, reply: c.reply, answer: household(area.Meters())}
			open := func(schema.Source) (medium.Line, error) { return line, nil }
			drivers := map[schema.Protocol]collect.Driver{schema.DLT645: dlt645.NewOver(open), schema.DLT698: dlt698.NewOver(open), schema.Modbus: modbus.NewOver(open)}
			if c.model == "sdm630" {
				line.answer = registers
			}
			compare(t, c.name, p, schema.Pace{Reply: c.reply}, steady(t, p, drivers[p.Source.Kind.Protocol()]))
		})
	}
}

func share698(model string) float64 {
	if model[:6] == "dlt698" {
		return 1
	}
	return 0
}

// And so it is of a CCO: whether the meters are what takes the time, or the line.
func TestBusTime_CCO(t *testing.T) {
	for _, c := range []struct {
		name, source string
		baud         int
		share        float64
		reply, frame time.Duration
	}{
		{"meters take the time", "", 0, 0, 200 * time.Millisecond, 250 * time.Millisecond},
		{"both kinds", `,"parallel":10`, 0, 0.5, time.Second, 100 * time.Millisecond},
		{"a slow line", `,"baud":2400,"parallel":20`, 2400, 0, 200 * time.Millisecond, 50 * time.Millisecond},
		{"a slow line, DL/T 698.45", `,"baud":9600,"parallel":16`, 9600, 1, 300 * time.Millisecond, 50 * time.Millisecond},
		{"few frames in a request", `,"framesPerRead":4`, 0, 0, 300 * time.Millisecond, 100 * time.Millisecond},
		{"line and meters", `,"baud":9600,"parallel":5`, 9600, 0.3, 500 * time.Millisecond, 100 * time.Millisecond},
	} {
		inBubble(t, func(t *testing.T) {
			r := newRig(t, Config{Meters: 60, Branches: 60, Share698: c.share, HopDelay: c.reply / 2, MeterDelay: c.frame, Baud: c.baud}, "")
			var meters []map[string]string
			for _, m := range r.area.Meters() {
				meters = append(meters, map[string]string{"id": fmt.Sprint("m", m.Number), "address": m.Digits(), "model": m.Model()})
			}
			list, err := json.Marshal(meters)
			if err != nil {
				t.Fatal(err)
			}
			p, err := schema.ParsePolicy([]byte(`{"period":"30m","source":{"kind":"q376","port":"/dev/none"` + c.source + `},"meters":` + string(list) + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if c.baud == 0 {
				p.Source.Baud = 0 // a line that takes no time
			}
			if c.share == 0 && r.area.Meters()[0].Protocol != wire.DLT645 {
				t.Fatal("not what was asked for")
			}
			compare(t, c.name, p, schema.Pace{Reply: c.reply, Frame: c.frame}, steady(t, p, r.driver))
		})
	}
}
