package wire_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

var rewrite = flag.Bool("update", false, "rewrite the golden files in testdata")

// history is one shadow's life, from which the golden messages are taken.
type history struct {
	created, reported, cleared, tombstone *shadow.Document

	create, report, clear *shadow.Update
}

func update(t testing.TB, body string) *shadow.Update {
	t.Helper()
	u, err := shadow.ParseUpdate([]byte(body), shadow.DefaultLimits)
	if err != nil {
		t.Fatalf("ParseUpdate(%s): %v", body, err)
	}
	return u
}

func live(t testing.TB) history {
	t.Helper()
	h := history{
		create: update(t, `{"state":{"desired":{"light":{"on":true,"rgb":[255,0,128]},"mode":"eco","opts":{}}},"clientToken":"phone-1"}`),
		report: update(t, `{"state":{"desired":{"mode":null},"reported":{"light":{"on":false,"rgb":[255,0.0,128]},"name":"A \"quoted\" <line>\n"}}}`),
		clear:  update(t, `{"state":null,"version":2,"clientToken":"phone-2"}`),
	}
	var err error
	step := func(d *shadow.Document, u *shadow.Update, at int64) *shadow.Document {
		next, e := d.Apply(u, at, shadow.DefaultLimits)
		if e != nil {
			t.Fatal(e)
		}
		return next
	}
	h.created = step(nil, h.create, 1_800_000_001)
	h.reported = step(h.created, h.report, 1_800_000_002)
	h.cleared = step(h.reported, h.clear, 1_800_000_003)
	if h.tombstone, err = h.cleared.Delete(nil, 1_800_000_004); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestMessages_Golden holds every message against the bytes that clients of the
// contract, and agents of other versions, know.
func TestMessages_Golden(t *testing.T) {
	h := live(t)
	sections := update(t, `{"state":{"desired":null,"reported":{}}}`)
	request := &wire.SyncRequest{BootEpoch: 4, ClientToken: "s1", Shadows: map[string]wire.SyncState{
		"": {Desired: 0, Reported: shadow.Digest(h.reported.Reported)}, "app:web": {Desired: 12}}}
	reply := &wire.SyncReply{BootEpoch: 4, Timestamp: 1_800_000_005, More: true, ClientToken: "s1", Shadows: map[string]wire.SyncShadow{
		"":        {Version: 2, DesiredVersion: 2, Desired: h.reported.Desired.AppendJSON(nil), ReportFull: true},
		"app:old": {Version: 9, DesiredVersion: 9, Deleted: true}, "app:web": {Version: 14, DesiredVersion: 12, Current: true, ReportFull: true}}}
	for name, got := range map[string][]byte{
		"get":               wire.AppendGet(nil, h.reported, 1_800_000_009, "g1"),
		"get_empty":         wire.AppendGet(nil, h.cleared, 1_800_000_009, ""),
		"accepted":          wire.AppendAccepted(nil, h.create, h.created),
		"accepted_nulls":    wire.AppendAccepted(nil, h.report, h.reported),
		"accepted_null":     wire.AppendAccepted(nil, h.clear, h.cleared),
		"accepted_sections": wire.AppendAccepted(nil, sections, h.created),
		"accepted_empty":    wire.AppendAccepted(nil, update(t, `{"state":{}}`), h.created),
		"delta":             wire.AppendDelta(nil, h.reported, h.reported.Delta(), "phone-1"),
		"documents_first":   wire.AppendDocuments(nil, nil, h.created, "phone-1"),
		"documents":         wire.AppendDocuments(nil, h.created, h.reported, ""),
		"documents_cleared": wire.AppendDocuments(nil, h.reported, h.cleared, "phone-2"),
		"documents_again":   wire.AppendDocuments(nil, h.tombstone, h.created, ""),
		"deleted":           wire.AppendDeleted(nil, h.tombstone, "d1"),
		"rejected":          wire.AppendRejected(nil, shadow.ErrVersionConflict, 1_800_000_009, "phone-1"),
		"rejected_absent":   wire.AppendRejected(nil, wire.NotFound("thing-1", "app:web"), 1_800_000_009, ""),
		"sync_request":      request.Append(nil),
		"sync_request_all":  (&wire.SyncRequest{BootEpoch: 4, Shadows: map[string]wire.SyncState{}, All: true}).Append(nil),
		"sync_reply":        reply.Append(nil),
		"sync_reply_same":   (&wire.SyncReply{BootEpoch: 4, Timestamp: 1_800_000_005, Shadows: map[string]wire.SyncShadow{}}).Append(nil),
		"push_patch": (&wire.DesiredPush{Version: 9, Base: 7, DesiredVersion: 9, Patch: []byte(`{"a":null}`), Timestamp: 1_800_000_006,
			Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}).Append(nil),
		"push_whole":   (&wire.DesiredPush{Version: 9, DesiredVersion: 9, Patch: []byte(`{"a":1}`), Timestamp: 1_800_000_006}).Append(nil),
		"push_none":    (&wire.DesiredPush{Version: 9, DesiredVersion: 9, Timestamp: 1_800_000_006}).Append(nil),
		"push_deleted": (&wire.DesiredPush{Version: 10, DesiredVersion: 10, Deleted: true, Timestamp: 1_800_000_006}).Append(nil),
		"report":       wire.AppendReport(nil, h.reported.Reported, shadow.Origin{BootEpoch: 4, Seq: 17}, false, "r1"),
		"report_full":  wire.AppendReport(nil, h.reported.Reported, shadow.Origin{BootEpoch: 4, Seq: 18}, true, ""),
		"report_none":  wire.AppendReport(nil, nil, shadow.Origin{BootEpoch: 4, Seq: 19}, true, ""),
	} {
		golden(t, name+".json", got)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if !json.Valid(got) {
		t.Errorf("%s is no JSON: %s", name, got)
	}
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(got, '\n'), want) {
		t.Errorf("%s\n got %s\nwant %s", path, got, want)
	}
}

// TestMessages_AppendToWhatIsThere: encoders share buffers with their callers.
func TestMessages_AppendToWhatIsThere(t *testing.T) {
	h := live(t)
	for name, encode := range map[string]func([]byte) []byte{
		"get":       func(b []byte) []byte { return wire.AppendGet(b, h.reported, 1, "") },
		"accepted":  func(b []byte) []byte { return wire.AppendAccepted(b, h.create, h.created) },
		"delta":     func(b []byte) []byte { return wire.AppendDelta(b, h.created, h.created.Delta(), "") },
		"documents": func(b []byte) []byte { return wire.AppendDocuments(b, nil, h.created, "") },
		"deleted":   func(b []byte) []byte { return wire.AppendDeleted(b, h.tombstone, "") },
		"rejected":  func(b []byte) []byte { return wire.AppendRejected(b, shadow.ErrNotFound, 1, "") },
	} {
		if got := encode([]byte("before")); string(got) != "before"+string(encode(nil)) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestMessages_AllocateNothing(t *testing.T) {
	h := live(t)
	buffer := make([]byte, 0, 4096)
	delta := h.reported.Delta()
	allocs := testing.AllocsPerRun(100, func() {
		_ = wire.AppendAccepted(buffer, h.report, h.reported)
		_ = wire.AppendDelta(buffer, h.reported, delta, "t")
		_ = wire.AppendDocuments(buffer, h.created, h.reported, "t")
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
