package reading_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gnomon/schema/reading"
	"gnomon/shadow/wire"
)

var rewrite = flag.Bool("update", false, "rewrite the golden files in testdata")

var midnight = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

func good(mantissa int64, exponent int) reading.Value {
	for mantissa != 0 && mantissa%10 == 0 {
		mantissa, exponent = mantissa/10, exponent+1
	}
	if mantissa == 0 {
		exponent = 0
	}
	return reading.Value{State: reading.Good, Number: reading.Number{Mantissa: mantissa, Exponent: int16(exponent)}}
}

func missing(reason string) reading.Value {
	return reading.Value{State: reading.Missing, Reason: reason}
}

// area is what a station area's meters read over some slots: three-phase ones and
// households, some loads large and most small, some meters dead.
type area struct {
	random   *rand.Rand
	ids      []string
	energy   []int64
	phases   []int
	dead     []bool
	arriving time.Duration // over which the meters of a slot answer
}

var curve = []string{"VA", "VB", "VC", "IA", "IB", "IC", "PF", "P", "E"}

func newArea(meters, threePhase int, dead float64) *area {
	a := &area{random: rand.New(rand.NewPCG(7, 7)), arriving: 4 * time.Minute}
	number := 12_000_340_000
	for i := range meters {
		number += 1 + a.random.IntN(60)
		if i%50 == 49 {
			number += 1_000_000 + a.random.IntN(1_000_000) // another lot of the maker's
		}
		a.ids = append(a.ids, fmt.Sprintf("%012d", number))
		a.energy = append(a.energy, a.random.Int64N(4_000_000))
		phases := 1
		if i%100 < threePhase {
			phases = 3
		}
		a.phases = append(a.phases, phases)
		a.dead = append(a.dead, a.random.Float64() < dead)
	}
	return a
}

// slots are the batch of so many slots, 15 minutes apart.
func (a *area) slots(n int) *reading.Batch {
	b := &reading.Batch{ID: 4711, Policy: "tq-0317-curve", Version: 7, Items: curve}
	for s := range n {
		at := midnight.Add(time.Duration(s) * 15 * time.Minute)
		for m, id := range a.ids {
			r := reading.Row{Meter: id, At: at, Source: reading.Cycle}
			r.Arrived = at.Add(time.Duration(float64(m)/float64(len(a.ids))*float64(a.arriving)) + time.Duration(a.random.Int64N(int64(3*time.Second)))).Truncate(time.Millisecond)
			r.Values = a.values(m)
			b.Rows = append(b.Rows, r)
		}
	}
	return b
}

func (a *area) values(m int) []reading.Value {
	values := make([]reading.Value, len(curve))
	if a.dead[m] {
		for i := range values {
			values[i] = missing("timeout")
		}
		return values
	}
	power := int64(0)
	for phase := range a.phases[m] {
		volt := 2200 + a.random.Int64N(150)
		ampere := int64(a.random.ExpFloat64()*2500) % 60_000
		values[phase] = good(volt, -1)
		values[3+phase] = good(ampere, -3)
		power += volt * ampere / 1000
	}
	values[6] = good(1000-a.random.Int64N(150), -3)
	values[7] = good(power, -4)
	a.energy[m] += power / 400
	values[8] = good(a.energy[m], -2)
	return values
}

func encoded(t testing.TB, b *reading.Batch) []byte {
	t.Helper()
	out, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sent is how many bytes a batch is on the link: the payload, and the packet
// around it.
func sent(payload int) int {
	rest := 2 + len(wire.Readings{Thing: "gw-0317"}.Batch()) + 2 + 1 + payload // topic, packet, properties
	n := 1 + rest
	for ; rest > 0; rest >>= 7 {
		n++
	}
	return n
}

// points is how many values there are, with a number or with a reason.
func points(b *reading.Batch) (n int) {
	for _, r := range b.Rows {
		for _, v := range r.Values {
			if v.State != reading.Absent {
				n++
			}
		}
	}
	return n
}

// TestBatch_BytesPerPoint holds what a point costs on the link, packet and topic
// included.
func TestBatch_BytesPerPoint(t *testing.T) {
	for _, c := range []struct {
		name  string
		area  *area
		slots int
		split int // rows in one message; 0: all
		most  float64
	}{
		{"300 three-phase meters, one slot", newArea(300, 100, 0), 1, 0, 2.6},
		{"300 meters, one of five three-phase, 2 % dead", newArea(300, 20, .02), 1, 0, 3.6},
		{"the same, 50 rows to a message", newArea(300, 20, .02), 1, 50, 4},
		{"20 meters, a day made up for", newArea(20, 100, 0), 96, 0, 2.6},
		{"one meter, a day made up for", newArea(1, 100, 0), 96, 0, 3},
		{"half of them dead", newArea(300, 100, .5), 1, 0, 2.6},
		{"one meter, one slot", newArea(1, 100, 0), 1, 0, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.area.slots(c.slots)
			all, of, n := b.Rows, points(b), 0
			for len(all) > 0 {
				part := len(all)
				if c.split > 0 {
					part = min(part, c.split)
				}
				b.Rows, all = all[:part], all[part:]
				n += sent(len(encoded(t, b)))
			}
			per := float64(n) / float64(of)
			t.Logf("%.2f bytes per point", per)
			if per > c.most {
				t.Errorf("%.2f bytes per point, at most %.1f", per, c.most)
			}
		})
	}
}

func golden() map[string]*reading.Batch {
	small := newArea(3, 100, 0).slots(2)
	small.Rows[1].Values = []reading.Value{missing("timeout"), missing("timeout"), {}, {}, {}, {}, good(5, 300), good(-12345678901234567, -390), good(0, 0)}
	small.Rows[4].Source = reading.BackFill
	odd := &reading.Batch{ID: 1<<64 - 1, Policy: "p", Items: []string{"on"}, Rows: []reading.Row{
		{Meter: "pump-a", At: midnight, Arrived: midnight, Source: reading.Pushed, Values: []reading.Value{good(1, 0)}},
		{Meter: "pump-bc", At: midnight, Arrived: time.Time{}, Source: reading.Demand, Values: []reading.Value{missing("no-value")}},
		{Meter: "pump-a", At: midnight.Add(time.Millisecond), Arrived: midnight, Source: reading.Pushed, Values: []reading.Value{good(0, 0)}},
	}}
	hole := newArea(40, 20, 0).slots(3)
	hole.Rows = append(hole.Rows[:50:50], hole.Rows[55:]...)
	return map[string]*reading.Batch{"small": small, "odd": odd, "hole": hole}
}

// TestBatch_Golden holds the encoding against the bytes that other versions know.
func TestBatch_Golden(t *testing.T) {
	for name, b := range golden() {
		path := filepath.Join("testdata", name+".batch")
		got := encoded(t, b)
		if *rewrite {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: encodes to %x, want %x", name, got, want)
		}
		back, err := reading.Decode(want)
		if err != nil || !reflect.DeepEqual(back, b) {
			t.Errorf("%s: decodes to %+v, %v; want %+v", name, back, err, b)
		}
	}
}

func drawNumber(t *rapid.T) reading.Value {
	digits := rapid.Int64Range(0, 18).Draw(t, "digits")
	limit := int64(1)
	for range digits {
		limit *= 10
	}
	v := good(rapid.Int64Range(-limit+1, limit-1).Draw(t, "mantissa"), rapid.IntRange(-300, 300).Draw(t, "exponent"))
	if rapid.Bool().Draw(t, "common") && v.Number.Mantissa != 0 {
		v.Number.Exponent = -2
	}
	return v
}

func drawBatch(t *rapid.T) *reading.Batch {
	id := rapid.StringMatching(rapid.SampledFrom([]string{`[0-9]{12}`, `[a-z]{2}-[0-9]{1,3}`, `[A-Za-z0-9._-]{1,64}`, `[0-9]{1,64}`}).Draw(t, "ids"))
	milli := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "slot") {
			return midnight.Add(time.Duration(rapid.IntRange(-96, 96).Draw(t, "n")) * 15 * time.Minute)
		}
		return time.UnixMilli(rapid.Int64Range(-62135596800000, 253402300799999).Draw(t, "ms")).UTC()
	})
	b := &reading.Batch{ID: rapid.Uint64().Draw(t, "id"), Policy: rapid.StringMatching(`[a-z0-9-]{1,48}`).Draw(t, "policy"), Version: rapid.Uint64().Draw(t, "version")}
	b.Items = rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Za-z0-9._-]{1,8}`), 1, 6, rapid.ID).Draw(t, "items")
	meters := rapid.SliceOfN(id, 1, 12).Draw(t, "meters")
	times := rapid.SliceOfN(milli, 1, 6).Draw(t, "times")
	type key struct {
		meter string
		at    int64
	}
	seen := map[key]bool{}
	for range rapid.IntRange(1, 40).Draw(t, "rows") {
		r := reading.Row{
			Meter: rapid.SampledFrom(meters).Draw(t, "meter"), At: rapid.SampledFrom(times).Draw(t, "at"),
			Arrived: milli.Draw(t, "arrived"), Source: reading.Source(rapid.IntRange(1, 4).Draw(t, "source")),
		}
		if k := (key{r.Meter, r.At.UnixMilli()}); seen[k] {
			continue
		} else {
			seen[k] = true
		}
		for range b.Items {
			var v reading.Value
			switch rapid.IntRange(0, 4).Draw(t, "state") {
			case 0:
			case 1:
				v = missing(rapid.SampledFrom([]string{"timeout", "link", "z9"}).Draw(t, "reason"))
			default:
				v = drawNumber(t)
			}
			r.Values = append(r.Values, v)
		}
		b.Rows = append(b.Rows, r)
	}
	b.Sort()
	return b
}

// TestBatch_RoundTrip: whatever the batch, it decodes to what was encoded, and what
// stands before it in the buffer stays.
func TestBatch_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBatch(t)
		out, err := b.Append([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := bytes.CutPrefix(out, []byte("before"))
		back, err := reading.Decode(rest)
		if err != nil || !ok {
			t.Fatalf("%x: %v", out, err)
		}
		if !reflect.DeepEqual(back, b) {
			t.Fatalf("%+v came back as %+v", b, back)
		}
		states, err := reading.DecodeStates(rest)
		for i := range back.Rows {
			for j := range back.Rows[i].Values {
				back.Rows[i].Values[j].Number = reading.Number{}
			}
		}
		if err != nil || !reflect.DeepEqual(states, back) {
			t.Fatalf("without numbers it is %+v, %v", states, err)
		}
		cut := rapid.IntRange(0, len(rest)-1).Draw(t, "cut")
		if got, err := reading.Decode(rest[:cut]); err == nil {
			t.Fatalf("cut at %d of %d it is %+v", cut, len(rest), got)
		}
	})
}

func TestBatch_Refused(t *testing.T) {
	for want, spoil := range map[string]func(*reading.Batch){
		"policy":    func(b *reading.Batch) { b.Policy = "a b" },
		"items":     func(b *reading.Batch) { b.Items = nil },
		"items[8]":  func(b *reading.Batch) { b.Items = append(b.Items[:8:8], "VA") },
		"rows: 0":   func(b *reading.Batch) { b.Rows = nil },
		"rows[1]":   func(b *reading.Batch) { b.Rows[1] = b.Rows[0] },
		"meter":     func(b *reading.Batch) { b.Rows[2].Meter = "" },
		"at ":       func(b *reading.Batch) { b.Rows[2].At = b.Rows[2].At.Add(1) },
		"arrived":   func(b *reading.Batch) { b.Rows[2].Arrived = b.Rows[2].Arrived.In(time.FixedZone("", 3600)) },
		"source":    func(b *reading.Batch) { b.Rows[2].Source = 0 },
		"values: 1": func(b *reading.Batch) { b.Rows[2].Values = b.Rows[2].Values[:1] },
		"values[0]": func(b *reading.Batch) { b.Rows[2].Values[0] = good(10, 0); b.Rows[2].Values[0].Number.Mantissa = 10 },
		"values[1]": func(b *reading.Batch) { b.Rows[2].Values[1] = missing("No") },
		"4097":      func(b *reading.Batch) { b.Rows = make([]reading.Row, 4097) },
		"4096 rows": func(b *reading.Batch) {
			b.Rows, b.Items = make([]reading.Row, 4096), append(b.Items, make([]string, 8)...)
		},
	} {
		b := newArea(3, 100, 0).slots(1)
		spoil(b)
		out, err := b.Append([]byte("x"))
		if !errors.Is(err, reading.ErrInvalid) || !strings.Contains(err.Error(), want) || string(out) != "x" {
			t.Errorf("%s: %q, %v", want, out, err)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	large := newArea(4096, 0, 0).slots(1)
	for i := range large.Rows {
		for j := range large.Rows[i].Values {
			large.Rows[i].Values[j] = good(random.Int64N(1e18), 0)
		}
	}
	if out, err := large.Append(nil); !errors.Is(err, reading.ErrTooLarge) || len(out) > 0 {
		t.Errorf("a batch of far more than 64 KiB: %d bytes, %v", len(out), err)
	}
	if _, err := reading.Decode(make([]byte, reading.MaxBytes+1)); !errors.Is(err, reading.ErrInvalid) {
		t.Errorf("64 KiB and one byte: %v", err)
	}
}

// allocated is what is allocated meanwhile, garbage included.
func allocated(of func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	of()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

const maxMemory = 8 << 20

// TestDecode_Memory: what claims much and says little takes no more memory than
// is promised, even if all of it is kept until the end.
func TestDecode_Memory(t *testing.T) {
	absent := &reading.Batch{ID: 1, Policy: "p", Items: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"}}
	zeros := &reading.Batch{ID: 1, Policy: "p", Items: absent.Items}
	for i := range reading.MaxRows {
		r := reading.Row{Meter: fmt.Sprintf("%063d", i), At: midnight, Arrived: midnight, Source: reading.Cycle, Values: make([]reading.Value, 16)}
		absent.Rows = append(absent.Rows, r)
		r.Values = make([]reading.Value, 16)
		for j := range r.Values {
			r.Values[j] = good(0, 0)
		}
		zeros.Rows = append(zeros.Rows, r)
	}
	for name, b := range map[string]*reading.Batch{"absent": absent, "zeros": zeros} {
		text := encoded(t, b)
		n := allocated(func() {
			if _, err := reading.Decode(text); err != nil {
				t.Error(err)
			}
		})
		t.Logf("%s: %d bytes take %d", name, len(text), n)
		if n > maxMemory {
			t.Errorf("%s: %d bytes take %d of memory, at most %d", name, len(text), n, maxMemory)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range golden() {
		f.Add(encoded(f, b))
	}
	f.Add(encoded(f, newArea(300, 20, .02).slots(1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := reading.Decode(text)
		if err != nil {
			if !errors.Is(err, reading.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		again, err := b.Append(nil)
		if errors.Is(err, reading.ErrTooLarge) {
			return // it was written with less care
		}
		if err != nil {
			t.Fatalf("decoded, it is no batch: %v", err)
		}
		back, err := reading.Decode(again)
		if err != nil || !reflect.DeepEqual(back, b) {
			t.Fatalf("%+v, and again %+v, %v", b, back, err)
		}
	})
}

func BenchmarkBatch_Append(b *testing.B) {
	batch := newArea(300, 100, 0).slots(1)
	buffer := encoded(b, batch)
	b.ReportMetric(float64(sent(len(buffer)))/float64(points(batch)), "B/point")
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buffer, err = batch.Append(buffer[:0]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*points(batch)), "ns/point")
}

func BenchmarkDecode(b *testing.B) {
	batch := newArea(300, 100, 0).slots(1)
	text := encoded(b, batch)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := reading.Decode(text); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*points(batch)), "ns/point")
}
