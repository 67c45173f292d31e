package history_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gnomon/cloud/history"
	"gnomon/shadow"
)

var bounds = history.Bounds{Versions: 10, Bytes: 1 << 16}

// chain is a shadow with its history, as the service would write them.
type chain struct {
	doc, log *shadow.Document
	was      map[uint64]*shadow.Value // desired at each of its versions
	order    []uint64
	bounds   history.Bounds
}

func (c *chain) apply(t rapid.TB, body string) {
	t.Helper()
	u, err := shadow.ParseUpdate([]byte(body), shadow.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	next, err := c.doc.Apply(u, int64(100+len(c.order)), shadow.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	c.take(t, next, u.Desired.Patch)
}

func (c *chain) take(t rapid.TB, next *shadow.Document, patch *shadow.Value) {
	t.Helper()
	if next.DesiredVersion == next.Version {
		log, err := history.Next(c.log, history.Write{Previous: c.doc, Next: next, Patch: patch, By: "operator local", Via: history.ViaHTTP}, c.bounds)
		if err != nil {
			t.Fatal(err)
		}
		// It is a document like others, to be stored and read.
		if c.log, err = shadow.ParseRecord(log.AppendRecord(nil)); err != nil {
			t.Fatal(err)
		}
		if c.was == nil {
			c.was = map[uint64]*shadow.Value{}
		}
		c.was[next.Version] = next.Desired
		c.order = append(c.order, next.Version)
	}
	c.doc = next
}

func (c *chain) read(t rapid.TB) *history.Log {
	t.Helper()
	l, err := history.Read(c.log, c.doc)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Whatever was written, every version that is kept comes out as it was, and the
// newest are kept.
func TestAt_IsWhatItWas(t *testing.T) {
	value := rapid.SampledFrom([]string{`1`, `"x"`, `{}`, `null`, `[1,{"a":2}]`, `{"a":1}`, `{"a":null,"b":{"c":3}}`, `{"b":{}}`})
	rapid.Check(t, func(rt *rapid.T) {
		c := &chain{bounds: history.Bounds{Versions: rapid.IntRange(1, 5).Draw(rt, "versions"), Bytes: 1 << 16}}
		for range rapid.IntRange(1, 12).Draw(rt, "writes") {
			key := rapid.SampledFrom([]string{"a", "b.c", ""}).Draw(rt, "key")
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			case 0:
				c.apply(rt, `{"state":null}`)
			case 1:
				c.apply(rt, fmt.Sprintf(`{"state":{"reported":{%q:%s}}}`, key, value.Draw(rt, "value")))
			case 2:
				if gone, err := c.doc.Delete(nil, 99); err == nil {
					c.take(rt, gone, nil)
				}
			default:
				c.apply(rt, fmt.Sprintf(`{"state":{"desired":{%q:%s}}}`, key, value.Draw(rt, "value")))
			}
		}
		if len(c.order) == 0 {
			return
		}
		l := c.read(rt)
		if want := min(len(c.order), c.bounds.Versions); len(l.Entries()) != want {
			rt.Fatalf("%d versions are kept, want %d", len(l.Entries()), want)
		}
		for i, e := range l.Entries() {
			if want := c.order[len(c.order)-len(l.Entries())+i]; e.Version != want {
				rt.Fatalf("version %d is where %d was", e.Version, want)
			}
			_, desired, err := l.At(e.Version)
			if err != nil || !shadow.Equal(desired, c.was[e.Version]) {
				rt.Fatalf("version %d: %s, was %s; %v", e.Version, desired.AppendJSON(nil), c.was[e.Version].AppendJSON(nil), err)
			}
		}
		leapt, err := history.Leap(c.log, 1000)
		if err != nil {
			rt.Fatal(err)
		}
		doc := *c.doc
		doc.Version, doc.DesiredVersion = doc.Version+1000, doc.DesiredVersion+1000
		l2, err := history.Read(leapt, &doc)
		if err != nil || len(l2.Entries()) != len(l.Entries()) {
			rt.Fatalf("after a leap %d of %d versions are kept, %v", len(l2.Entries()), len(l.Entries()), err)
		}
		if _, desired, err := l2.At(l.Entries()[0].Version + 1000); err != nil || !shadow.Equal(desired, c.was[l.Entries()[0].Version]) {
			rt.Fatalf("after a leap: %v", err)
		}
	})
}

func TestWritten_AndWhatBecameOfIt(t *testing.T) {
	c := &chain{bounds: bounds}
	c.apply(t, `{"state":{"desired":{"a":1,"b":{"c":1,"d":2}}}}`)
	c.apply(t, `{"state":{"reported":{"a":1}}}`)
	c.apply(t, `{"state":{"desired":{"b":{"c":2}}}}`)
	c.apply(t, `{"state":{"desired":{"a":1,"b":{"d":null}}}}`)
	c.apply(t, `{"state":{"desired":{"b":{"c":1}}}}`)
	for version, want := range map[uint64]string{
		1: "a=1 b.c=1/3 b.d=2/4",
		3: "b.c=2/5",
		4: "a=1",
		5: "b.c=1",
	} {
		written, err := c.read(t).Written(version)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range written {
			text := fmt.Sprintf("%s=%s", w.Path, w.Value.AppendJSON(nil))
			if w.SupersededBy > 0 {
				text += fmt.Sprint("/", w.SupersededBy)
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("version %d wrote %v, want %s", version, got, want)
		}
	}
	if _, err := c.read(t).Written(2); !errors.Is(err, history.ErrNotKept) {
		t.Errorf("a version of a report: %v", err)
	}
	since, known, err := c.read(t).Since(1)
	if want := (map[string]uint64{"a": 4, "b.c": 3, "b.d": 4}); err != nil || !known || fmt.Sprint(since) != fmt.Sprint(want) {
		t.Errorf("written since version 1: %v, %v, %v", since, known, err)
	}
}

// A history that misses a version says nothing rather than something wrong, and
// what was there before it began can be got back to.
func TestRead_NothingWithoutTheWholeChain(t *testing.T) {
	c := &chain{bounds: bounds}
	c.apply(t, `{"state":{"desired":{"a":1}}}`)
	kept := c.log
	c.apply(t, `{"state":{"desired":{"a":2}}}`)
	c.log = kept // the second version was written without it
	if n := len(c.read(t).Entries()); n != 0 {
		t.Errorf("%d versions", n)
	}
	c.apply(t, `{"state":{"desired":{"a":3}}}`)
	l := c.read(t)
	if len(l.Entries()) != 2 || l.Entries()[0].Version != 2 || l.Entries()[0].Time != 0 {
		t.Fatalf("%+v", l.Entries())
	}
	if _, desired, err := l.At(2); err != nil || string(desired.AppendJSON(nil)) != `{"a":2}` {
		t.Errorf("%s, %v", desired.AppendJSON(nil), err)
	}
	if _, known, err := l.Since(1); known || err != nil {
		t.Errorf("what was written since version 1 is said to be known; %v", err)
	}
	if since, known, err := l.Since(2); !known || err != nil || since["a"] != 3 {
		t.Errorf("%v %v %v", since, known, err)
	}
}

func TestNext_BoundedInBytes(t *testing.T) {
	c := &chain{bounds: history.Bounds{Versions: 10, Bytes: 3000}}
	for i := range 10 {
		c.apply(t, fmt.Sprintf(`{"state":{"desired":{"a":"%d%s"}}}`, i, strings.Repeat("x", 1000)))
	}
	if n, size := len(c.read(t).Entries()), len(c.log.AppendRecord(nil)); n < 1 || n > 3 || size > 3200 {
		t.Errorf("%d versions in %d bytes", n, size)
	}
}
