package care_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gnomon/cloud/store"
	"gnomon/cloud/store/care"
	"gnomon/cloud/store/pebble"
	"gnomon/cloud/store/redis"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/shadow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns an empty store that runs until the test ends.
func open(t testing.TB) *pebble.Store {
	t.Helper()
	s, err := pebble.Open(pebble.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openRedis(t *testing.T) store.Store {
	t.Helper()
	s, err := redis.Open(t.Context(), redis.Config{URL: redistest.Start(t).URL("")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t testing.TB, s store.Store, key store.Key, data []byte) {
	t.Helper()
	done := make(chan error, 1)
	if err := s.Submit(t.Context(), []store.Record{{Key: key, Data: data}}, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// document makes one with a history, so that stamps and versions differ.
func document(t testing.TB, n int) *shadow.Document {
	t.Helper()
	var d *shadow.Document
	for i := range n%4 + 1 {
		body := fmt.Sprintf(`{"state":{"desired":{"a":%d,"l":[1,"x",{"y":null}],"é":"\u0001"},"reported":{"n":{"m":%d.50}}}}`, n, i)
		body = strings.ReplaceAll(body, `{"y":null}`, `{"y":true}`)
		u, err := shadow.ParseUpdate([]byte(body), shadow.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		u.Origin = shadow.Origin{BootEpoch: 3, Seq: uint64(i + 1)}
		if d, err = d.Apply(u, int64(1000+10*n+i), shadow.DefaultLimits); err != nil {
			t.Fatal(err)
		}
	}
	if n%5 == 4 {
		d, _ = d.Delete(nil, 5000)
	}
	return d
}

// fill puts more than one page of shadows into a store.
func fill(t testing.TB, s store.Store) (keys []store.Key) {
	for n := range 600 {
		key := store.Key{Thing: fmt.Sprintf("thing-%03d", n/3), Shadow: []string{"", "$odd:name", "app:web"}[n%3]}
		put(t, s, key, document(t, n).AppendRecord(nil))
		keys = append(keys, key)
	}
	return keys
}

func load(t testing.TB, s store.Store, key store.Key) []byte {
	t.Helper()
	data, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatal(key, err)
	}
	return data
}

func TestMove_ToTheBit(t *testing.T) {
	t.Run("to pebble", func(t *testing.T) { move(t, open(t)) })
	t.Run("to Redis", func(t *testing.T) { move(t, openRedis(t)) })
}

func move(t *testing.T, to store.Store) {
	t.Helper()
	from := open(t)
	keys := fill(t, from)
	var stream bytes.Buffer
	n, err := care.Export(t.Context(), from, &stream, func(k store.Key, err error) { t.Error(k, err) })
	if err != nil || n.Shadows != len(keys) {
		t.Fatal(n, err)
	}
	if n, err := care.Import(t.Context(), &stream, to, care.Move); err != nil || n.Shadows != len(keys) || n.Kept != 0 {
		t.Fatal(n, err)
	}
	for _, k := range keys {
		if !bytes.Equal(load(t, from, k), load(t, to, k)) {
			t.Errorf("%v differs", k)
		}
	}
}

// A restored store must not hand out versions again, whatever was written after
// the backup; doing it twice changes nothing.
func TestRestore_VersionsLeap(t *testing.T) {
	from, to := open(t), open(t)
	keys := fill(t, from)
	var stream bytes.Buffer
	if _, err := care.Export(t.Context(), from, &stream, nil); err != nil {
		t.Fatal(err)
	}
	text := stream.String()
	for again := range 2 {
		n, err := care.Import(t.Context(), strings.NewReader(text), to, care.Restore)
		if err != nil || n.Shadows != len(keys)*(1-again) || n.Kept != len(keys)*again {
			t.Fatal(n, err)
		}
	}
	for _, k := range keys {
		old, err := shadow.ParseRecord(load(t, from, k))
		if err != nil {
			t.Fatal(err)
		}
		d, err := shadow.ParseRecord(load(t, to, k))
		if err != nil {
			t.Fatal(err)
		}
		if d.Version != old.Version+care.Leap || d.DesiredVersion != old.DesiredVersion+care.Leap || d.Deleted != old.Deleted ||
			!shadow.Equal(d.Desired, old.Desired) || !shadow.Equal(d.Reported, old.Reported) || d.Origin != old.Origin {
			t.Errorf("%v: %+v became %+v", k, old, d)
		}
	}
}

func TestDamage_IsNamedLeftOutAndReplaced(t *testing.T) {
	s := open(t)
	good := store.Key{Thing: "a"}
	put(t, s, good, document(t, 1).AppendRecord(nil))
	bad := store.Key{Thing: "b", Shadow: "app:web"}
	spoilt := document(t, 2).AppendRecord(nil)
	spoilt[len(spoilt)/2] ^= 1
	put(t, s, bad, spoilt)

	var stream bytes.Buffer
	var named []store.Key
	n, err := care.Export(t.Context(), s, &stream, func(k store.Key, _ error) { named = append(named, k) })
	if err != nil || n != (care.Result{Shadows: 1, Damaged: 1}) || len(named) != 1 || named[0] != bad || strings.Count(stream.String(), "\n") != 3 {
		t.Errorf("%+v %v, named %v", n, err, named)
	}
	var damage []care.Damage
	if n, err := care.Check(t.Context(), s, func(d care.Damage) error { damage = append(damage, d); return nil }); err != nil || n.Damaged != 1 {
		t.Fatal(n, err)
	}
	if len(damage) != 1 || !bytes.Equal(damage[0].Data, spoilt) || !errors.Is(damage[0].Err, shadow.ErrCorrupt) {
		t.Fatalf("%+v", damage)
	}
	if err := care.Replace(t.Context(), s, damage[0], 1_800_000_000); err != nil {
		t.Fatal(err)
	}
	d, err := shadow.ParseRecord(load(t, s, bad))
	if err != nil || !d.Deleted || d.Version < care.Leap {
		t.Errorf("in its place: %+v %v", d, err)
	}
	if n, err := care.Check(t.Context(), s, nil); err != nil || n != (care.Result{Shadows: 2}) {
		t.Errorf("afterwards: %+v %v", n, err)
	}
}

func TestImport_CutOff(t *testing.T) {
	from := open(t)
	keys := fill(t, from)
	var stream bytes.Buffer
	if _, err := care.Export(t.Context(), from, &stream, nil); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(stream.String(), "\n")
	n, err := care.Import(t.Context(), strings.NewReader(strings.Join(lines[:301], "")), open(t), care.Move)
	if !errors.Is(err, care.ErrCutOff) || n.Shadows != 300 || len(keys) != 600 {
		t.Errorf("%+v %v", n, err)
	}
}

func TestImport_RefusesByLine(t *testing.T) {
	record := base64.StdEncoding.EncodeToString(document(t, 0).AppendRecord(nil))
	good := `{"thing":"a","version":1,"record":"` + record + `"}`
	for name, test := range map[string]struct{ line, want string }{
		"no JSON":        {`{"thing":`, "line 2: unexpected end"},
		"no record":      {`{"thing":"b","version":1}`, "line 2: corrupt"},
		"spoilt record":  {strings.Replace(good, record[20:24], "AAAA", 1), "line 2: corrupt"},
		"another number": {`{"thing":"b","version":2,"record":"` + record + `"}`, "line 2: version 2 is said of a record of version 1"},
		"bad thing":      {`{"thing":"b/c","version":1,"record":"` + record + `"}`, "no shadow's name"},
		"bad shadow":     {`{"thing":"b","shadow":"a b","version":1,"record":"` + record + `"}`, "no shadow's name"},
		"cut off":        {``, "unexpected end of JSON input"},
		"wrong count":    {`{"end":true,"shadows":2}`, "line 2: 2 records were written, 1 are here"},
		"endless line":   {strings.Repeat("x", 9<<20), "token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			n, err := care.Import(t.Context(), strings.NewReader(good+"\n"+test.line+"\n"), s, care.Move)
			if err == nil || !strings.Contains(err.Error(), test.want) || n.Shadows != 1 {
				t.Errorf("%+v, %v; want %q", n, err, test.want)
			}
			load(t, s, store.Key{Thing: "a"}) // what came before is in
		})
	}
}
