package care_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"gnomon/cloud/changeset"
	"gnomon/cloud/history"
	"gnomon/cloud/store"
	"gnomon/cloud/store/care"
	"gnomon/shadow"
)

// A stream of the first format, which says no format, is read in to the bit.
func TestImport_Format1(t *testing.T) {
	text, err := os.ReadFile("testdata/format-1.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t)
	if n, err := care.Import(t.Context(), bytes.NewReader(text), s, care.Move); err != nil || n.Shadows != 4 {
		t.Fatal(n, err)
	}
	var again bytes.Buffer
	if _, err := care.Export(t.Context(), s, &again, nil); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("{\"format\":%d}\n", store.Format) + string(text); again.String() != want {
		t.Errorf("got\n%swant\n%s", again.String(), want)
	}
}

// A stream of the present format comes out as it went in. When the format
// changes, this file stays, and so does what it is read as.
func TestImport_Format2(t *testing.T) {
	text, err := os.ReadFile("testdata/format-2.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t)
	if n, err := care.Import(t.Context(), bytes.NewReader(text), s, care.Move); err != nil || n != (care.Result{Shadows: 4, Beside: 5}) {
		t.Fatalf("%+v %v", n, err)
	}
	if n, err := care.Check(t.Context(), s, nil); err != nil || n != (care.Result{Shadows: 4, Beside: 5}) {
		t.Errorf("%+v %v", n, err)
	}
	var again bytes.Buffer
	if _, err := care.Export(t.Context(), s, &again, nil); err != nil {
		t.Fatal(err)
	}
	if again.String() != string(text) {
		t.Errorf("got\n%swant\n%s", again.String(), text)
	}
}

func TestImport_NewerFormat(t *testing.T) {
	s := open(t)
	stream := fmt.Sprintf("{\"format\":%d}\n", store.Format+1)
	_, err := care.Import(t.Context(), strings.NewReader(stream), s, care.Move)
	want := fmt.Sprintf("line 1: data format %d is newer than this gnomon reads (%d); run the version that wrote it, or a later one", store.Format+1, store.Format)
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What is kept beside shadows goes with them. After a restore histories still
// lead up to their shadows, generations go on beyond those that may have been
// given, and no change-set is left open that may have been applied since.
func TestBeside(t *testing.T) {
	from, moved, restored := open(t), open(t), open(t)
	key := store.Key{Thing: "a", Shadow: "x"}
	u, err := shadow.ParseUpdate([]byte(`{"state":{"desired":{"a":1}}}`), shadow.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	d, err := (*shadow.Document)(nil).Apply(u, 100, shadow.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	h, err := history.Next(nil, history.Write{Next: d, By: "operator local", Via: history.ViaHTTP}, history.Bounds{Versions: 3, Bytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	set := changeset.Set{Generation: 7, Changes: []*changeset.Change{{
		Generation: 7, Status: changeset.Scheduled, Shadows: map[string]*changeset.Share{"x": {Desired: []byte(`{"a":2}`), Base: 1}},
		Life: changeset.Life{NotBefore: 200},
	}}}
	c, err := set.Document(nil, 100, changeset.DefaultBounds)
	if err != nil {
		t.Fatal(err)
	}
	put(t, from, key, d.AppendRecord(nil))
	put(t, from, history.Key(key), h.AppendRecord(nil))
	put(t, from, changeset.Key("a"), c.AppendRecord(nil))
	if n, err := care.Check(t.Context(), from, nil); err != nil || n != (care.Result{Shadows: 1, Beside: 2}) {
		t.Fatalf("%+v %v", n, err)
	}
	var stream bytes.Buffer
	if n, err := care.Export(t.Context(), from, &stream, nil); err != nil || n != (care.Result{Shadows: 1, Beside: 2}) {
		t.Fatalf("%+v %v", n, err)
	}
	for to, mode := range map[store.Store]care.Mode{moved: care.Move, restored: care.Restore} {
		if n, err := care.Import(t.Context(), bytes.NewReader(stream.Bytes()), to, mode); err != nil || n != (care.Result{Shadows: 1, Beside: 2}) {
			t.Fatalf("%+v %v", n, err)
		}
	}
	for _, k := range []store.Key{key, history.Key(key), changeset.Key("a")} {
		if !bytes.Equal(load(t, from, k), load(t, moved, k)) {
			t.Errorf("%v differs after a move", k)
		}
	}
	parse := func(k store.Key) *shadow.Document {
		d, err := shadow.ParseRecord(load(t, restored, k))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	log, err := history.Read(parse(history.Key(key)), parse(key))
	if err != nil || len(log.Entries()) != 1 || log.Entries()[0].Version != 1+care.Leap {
		t.Errorf("history %+v, %v", log, err)
	}
	after, err := changeset.Parse(parse(changeset.Key("a")))
	if err != nil || after.Generation != 7+care.Leap || len(after.Changes) != 1 {
		t.Fatalf("%+v, %v", after, err)
	}
	if got := after.Changes[0]; got.Status != changeset.Cancelled || got.Reason == "" || got.Generation != 7+care.Leap {
		t.Errorf("%+v", got)
	}
}
