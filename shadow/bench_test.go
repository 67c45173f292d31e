package shadow_test

import (
	"testing"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// The documents of the budget: 845 bytes held, 116 bytes of change.
const (
	benchDocument = `{"state":{"desired":{"component":"meter-reader@1.4.2","mode":"container","state":"running",` +
		`"run":{"command":["/bin/meter","-c","/etc/m.yml"],"env":{"BAUD":"9600","LOG":"info","SITE":"tai-qu-0117"},` +
		`"resources":{"cpu":"500m","memory":"64Mi","pids":64},"restart":{"policy":"always","backoff":"1s","backoffMax":"1m"},` +
		`"ports":[{"host":8080,"container":80,"protocol":"tcp"}]}},` +
		`"reported":{"component":"meter-reader@1.4.1","mode":"container","state":"running","phase":"running","observedVersion":6,` +
		`"pid":2211,"restarts":0,"startedAt":"2026-11-20T08:00:00Z","health":"passing 1s",` +
		`"run":{"command":["/bin/meter","-c","/etc/m.yml"],"env":{"BAUD":"2400","LOG":"info","SITE":"tai-qu-0117"},` +
		`"resources":{"cpu":"500m","memory":"64Mi","pids":64},"restart":{"policy":"always","backoff":"1s","backoffMax":"1m"}},` +
		`"usage":{"cpu":0.13,"memory":20971520,"pids":4}}}}`
	benchPatch = `{"state":{"reported":{"usage":{"cpu":0.17,"memory":21971520},"phase":"running","pid":2212}},"clientToken":"8f2c7d0"}`
)

func benchHeld(b *testing.B) *shadow.Document {
	b.Helper()
	u, err := shadow.ParseUpdate([]byte(benchDocument), shadow.DefaultLimits)
	if err != nil {
		b.Fatal(err)
	}
	d, err := (*shadow.Document)(nil).Apply(u, 1_800_000_000, shadow.DefaultLimits)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// BenchmarkUpdate is the budget: parse a change, merge it, work out the delta,
// encode the answer.
func BenchmarkUpdate(b *testing.B) {
	d, patch := benchHeld(b), []byte(benchPatch)
	out := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		u, err := shadow.ParseUpdate(patch, shadow.DefaultLimits)
		if err != nil {
			b.Fatal(err)
		}
		next, err := d.Apply(u, 1_800_000_001, shadow.DefaultLimits)
		if err != nil {
			b.Fatal(err)
		}
		if next.Delta() == nil {
			b.Fatal("no delta")
		}
		out = wire.AppendAccepted(out[:0], u, next)
	}
}

func BenchmarkParseUpdate(b *testing.B) {
	patch := []byte(benchPatch)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := shadow.ParseUpdate(patch, shadow.DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	d := benchHeld(b)
	u, err := shadow.ParseUpdate([]byte(benchPatch), shadow.DefaultLimits)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Apply(u, 1_800_000_001, shadow.DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPacked is what the shadow service does: the document stays in the form
// of its record.
func BenchmarkPacked(b *testing.B) {
	_, d := benchHeld(b).Pack()
	u, err := shadow.ParseUpdate([]byte(benchPatch), shadow.DefaultLimits)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		next, err := d.Apply(u, 1_800_000_001, shadow.DefaultLimits)
		if err != nil {
			b.Fatal(err)
		}
		if next.Delta() == nil {
			b.Fatal("no delta")
		}
		_, _ = next.Pack()
	}
}

func BenchmarkDelta(b *testing.B) {
	d := benchHeld(b)
	b.ReportAllocs()
	for b.Loop() {
		if d.Delta() == nil {
			b.Fatal("no delta")
		}
	}
}

func BenchmarkParseDocument(b *testing.B) {
	text := []byte(benchDocument)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := shadow.Parse(text, shadow.DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	d := benchHeld(b)
	out := make([]byte, 0, 8192)
	b.ReportAllocs()
	for b.Loop() {
		out = wire.AppendGet(out[:0], d, 1_800_000_002, "")
	}
}

func BenchmarkRecord(b *testing.B) {
	d := benchHeld(b)
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out = d.AppendRecord(out[:0])
	}
}

func BenchmarkParseRecord(b *testing.B) {
	record := benchHeld(b).AppendRecord(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := shadow.ParseRecord(record); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	d := benchHeld(b)
	b.ReportAllocs()
	for b.Loop() {
		shadow.Digest(d.Reported)
	}
}
