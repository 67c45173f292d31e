package shadow_test

import (
	"errors"
	"strings"
	"testing"

	"gnomon/shadow"
)

// state is a document as GET shows it, without its metadata.
func state(d *shadow.Document) string {
	var out []string
	for _, s := range []struct {
		name string
		v    *shadow.Value
	}{{"desired", d.Desired}, {"reported", d.Reported}, {"delta", d.Delta()}} {
		if s.v != nil {
			out = append(out, s.name+text(s.v))
		}
	}
	return strings.Join(out, " ")
}

// TestApply_Contract walks through what the contract says of updates: each case
// applies one update after the others and looks at what a GET would show.
func TestApply_Contract(t *testing.T) {
	const both = `{"state":{"desired":{"a":1,"b":{"c":2}},"reported":{"a":1}}}`
	for name, c := range map[string]struct {
		previous []string
		update   string
		want     string
	}{
		"the first update creates":                      {nil, `{"state":{"desired":{"a":1}}}`, `desired{"a":1} delta{"a":1}`},
		"an empty state creates an empty shadow":        {nil, `{"state":{}}`, ``},
		"an empty desired creates an empty shadow":      {nil, `{"state":{"desired":{}}}`, ``},
		"null state on nothing creates an empty shadow": {nil, `{"state":null}`, ``},
		"members merge recursively":                     {[]string{both}, `{"state":{"desired":{"b":{"d":3}}}}`, `desired{"a":1,"b":{"c":2,"d":3}} reported{"a":1} delta{"b":{"c":2,"d":3}}`},
		"null deletes a member":                         {[]string{both}, `{"state":{"desired":{"a":null}}}`, `desired{"b":{"c":2}} reported{"a":1} delta{"b":{"c":2}}`},
		"a nested object emptied by nulls stays":        {[]string{both}, `{"state":{"desired":{"b":{"c":null}}}}`, `desired{"a":1,"b":{}} reported{"a":1} delta{"b":{}}`},
		"nulling every key removes the section":         {[]string{both}, `{"state":{"desired":{"a":null,"b":null}}}`, `reported{"a":1}`},
		"a null section is removed":                     {[]string{both}, `{"state":{"desired":null}}`, `reported{"a":1}`},
		"both sections null":                            {[]string{both}, `{"state":{"desired":null,"reported":null}}`, ``},
		"null state clears both":                        {[]string{both}, `{"state":null}`, ``},
		"an empty state changes nothing":                {[]string{both}, `{"state":{}}`, `desired{"a":1,"b":{"c":2}} reported{"a":1} delta{"b":{"c":2}}`},
		"an empty section changes nothing":              {[]string{both}, `{"state":{"desired":{}}}`, `desired{"a":1,"b":{"c":2}} reported{"a":1} delta{"b":{"c":2}}`},
		"an empty object is a value":                    {[]string{`{"state":{"desired":{"b":{"c":3}}}}`}, `{"state":{"desired":{"b":{"c":{}},"d":{}}}}`, `desired{"b":{"c":{}},"d":{}} delta{"b":{"c":{}},"d":{}}`},
		"an array is replaced whole":                    {[]string{`{"state":{"desired":{"l":[1,2,3]}}}`}, `{"state":{"desired":{"l":[4]}}}`, `desired{"l":[4]} delta{"l":[4]}`},
		"a report that catches up leaves no delta":      {[]string{both}, `{"state":{"reported":{"b":{"c":2.0}}}}`, `desired{"a":1,"b":{"c":2}} reported{"a":1,"b":{"c":2.0}}`},
		"a reported key deleted is in the delta again":  {[]string{both}, `{"state":{"reported":{"a":null}}}`, `desired{"a":1,"b":{"c":2}} delta{"a":1,"b":{"c":2}}`},
		"a full report replaces":                        {[]string{`{"state":{"reported":{"x":1,"y":{"z":2}}}}`}, `{"state":{"reported":{"y":{"w":1}}},"origin":{"bootEpoch":1,"seq":1,"full":true}}`, `reported{"y":{"w":1}}`},
		"an empty full report removes":                  {[]string{both}, `{"state":{"reported":{}},"origin":{"bootEpoch":1,"seq":1,"full":true}}`, `desired{"a":1,"b":{"c":2}} delta{"a":1,"b":{"c":2}}`},
		"content outside state is ignored":              {nil, `{"state":{"desired":{"a":1}},"metadata":{"x":[null]},"timestamp":5}`, `desired{"a":1} delta{"a":1}`},
	} {
		previous := apply(t, nil, c.previous...)
		before := ""
		if previous != nil {
			before = state(previous)
		}
		next := apply(t, previous, c.update)
		if got := state(next); got != c.want {
			t.Errorf("%s: after %s\n got %s\nwant %s", name, c.update, got, c.want)
		}
		if want := uint64(len(c.previous) + 1); next.Version != want || !next.Exists() {
			t.Errorf("%s: version %d, want %d", name, next.Version, want)
		}
		if previous != nil && state(previous) != before {
			t.Errorf("%s: the previous document changed to %s", name, state(previous))
		}
	}
}

func TestApply_DesiredVersion(t *testing.T) {
	d := apply(t, nil, `{"state":{"reported":{"a":1}}}`)
	for _, c := range []struct {
		body string
		want uint64
	}{
		{`{"state":{"desired":{"a":1}}}`, 2},
		{`{"state":{"reported":{"a":2}}}`, 2},
		{`{"state":{}}`, 2},
		{`{"state":{"desired":{"a":1}}}`, 5}, // named, though the same
		{`{"state":{"desired":null}}`, 6},
		{`{"state":null}`, 7},
	} {
		if d = apply(t, d, c.body); d.DesiredVersion != c.want {
			t.Errorf("after %s: desired version %d, want %d", c.body, d.DesiredVersion, c.want)
		}
	}
}

func TestApply_Metadata(t *testing.T) {
	d := apply(t, nil, `{"state":{"desired":{"a":1,"b":2},"reported":{"c":[1,2]}}}`, `{"state":{"desired":{"b":2}}}`)
	if got, want := string(d.Desired.AppendMetadata(nil)), `{"a":{"timestamp":1001},"b":{"timestamp":1002}}`; got != want {
		t.Errorf("a leaf named again gets a new stamp: got %s, want %s", got, want)
	}
	if got, want := string(d.Reported.AppendMetadata(nil)), `{"c":[{"timestamp":1001},{"timestamp":1001}]}`; got != want {
		t.Errorf("one entry per element: got %s, want %s", got, want)
	}
	if d.Timestamp != 1002 {
		t.Errorf("timestamp %d", d.Timestamp)
	}
}

func version(n uint64) *uint64 { return &n }

func TestVersions(t *testing.T) {
	created := apply(t, nil, `{"state":{"desired":{"a":1}}}`, `{"state":{"desired":{"a":2}}}`) // version 2
	tombstone, err := created.Delete(nil, 2000)
	if err != nil {
		t.Fatal(err)
	}
	if tombstone.Version != 3 || tombstone.Exists() || !tombstone.Deleted || tombstone.Desired != nil || tombstone.Timestamp != 2000 {
		t.Errorf("tombstone %+v", tombstone)
	}
	if again := apply(t, tombstone, `{"state":{}}`); again.Version != 4 || !again.Exists() || again.Desired != nil {
		t.Errorf("made again: %+v", again)
	}
	for name, c := range map[string]struct {
		d       *shadow.Document
		version uint64
		want    error
	}{
		"the current one":             {created, 2, nil},
		"an older one":                {created, 1, shadow.ErrVersionConflict},
		"a newer one":                 {created, 3, shadow.ErrVersionConflict},
		"zero for one that never was": {nil, 0, nil},
		"one for one that never was":  {nil, 1, shadow.ErrVersionConflict},
		"zero for one that is":        {created, 0, shadow.ErrVersionConflict},
		"the deleted one":             {tombstone, 2, shadow.ErrVersionConflict},
		"the tombstone's":             {tombstone, 3, nil},
		"zero for a tombstone":        {tombstone, 0, shadow.ErrVersionConflict},
	} {
		next, err := c.d.Apply(&shadow.Update{Version: &c.version}, 3000, shadow.Limits{})
		if !errors.Is(err, c.want) || (err == nil) != (next != nil) {
			t.Errorf("update with %s: %+v, %v, want %v", name, next, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		d       *shadow.Document
		version *uint64
		want    error
	}{
		"any version":     {created, nil, nil},
		"the current one": {created, version(2), nil},
		"an older one":    {created, version(1), shadow.ErrVersionConflict},
		"never was":       {nil, nil, shadow.ErrNotFound},
		"twice":           {tombstone, nil, shadow.ErrNotFound},
		"twice, current":  {tombstone, version(3), shadow.ErrNotFound},
	} {
		if next, err := c.d.Delete(c.version, 3000); !errors.Is(err, c.want) || (err == nil) != (next != nil) {
			t.Errorf("delete, %s: %+v, %v, want %v", name, next, err, c.want)
		}
	}
}

func TestApply_OrderOfReports(t *testing.T) {
	report := func(epoch, seq uint64) *shadow.Update {
		return &shadow.Update{Origin: shadow.Origin{BootEpoch: epoch, Seq: seq}}
	}
	var d *shadow.Document
	for _, c := range []struct {
		epoch, seq uint64
		want       error
	}{
		{5, 3, nil},
		{5, 3, shadow.ErrStaleReport}, // doubled
		{5, 2, shadow.ErrStaleReport},
		{4, 900, shadow.ErrStaleReport}, // of an older boot
		{0, 0, nil},                     // unordered: taken, and the order kept
		{5, 3, shadow.ErrStaleReport},
		{5, 4, nil},
		{6, 0, nil}, // a new boot begins anew
		{5, 5, shadow.ErrStaleReport},
	} {
		next, err := d.Apply(report(c.epoch, c.seq), 1, shadow.Limits{})
		if !errors.Is(err, c.want) {
			t.Fatalf("report (%d, %d) after %+v: %v, want %v", c.epoch, c.seq, d, err, c.want)
		}
		if err == nil {
			d = next
		}
	}
	tombstone, _ := d.Delete(nil, 2)
	if next, err := tombstone.Apply(report(1, 1), 3, shadow.Limits{}); err != nil || next.Origin.BootEpoch != 1 {
		t.Errorf("a node that lost its count starts anew on a tombstone: %+v, %v", next, err)
	}
	remade := apply(t, tombstone, `{"state":{"desired":{}}}`)
	if _, err := remade.Apply(report(5, 9), 3, shadow.Limits{}); !errors.Is(err, shadow.ErrStaleReport) {
		t.Errorf("a late report on what an operator made again: %v", err)
	}
}

func TestApply_Limits(t *testing.T) {
	lim := shadow.Limits{StateBytes: 100}
	body := func(n int) *shadow.Update { // a reported section of n bytes
		return update(t, `{"state":{"reported":{"k":"`+strings.Repeat("x", n-len(`{"k":""}`))+`"}}}`)
	}
	d, err := (*shadow.Document)(nil).Apply(body(100), 1, lim)
	if err != nil || d.StateBytes() != 100 {
		t.Fatalf("exactly the limit: %v", err)
	}
	var limit *shadow.LimitError
	if _, err := d.Apply(body(101), 1, lim); !errors.As(err, &limit) || *limit != (shadow.LimitError{Field: "state", Limit: 100, Got: 101}) {
		t.Errorf("one over: %v", err)
	}
	if next, err := d.Apply(update(t, `{"state":{"desired":{"a":1}}}`), 1, lim); !errors.As(err, &limit) || next != nil {
		t.Errorf("desired and reported count together: %v", err)
	}
	lower := shadow.Limits{StateBytes: 50}
	if _, err := d.Apply(body(100), 2, lower); !errors.As(err, &limit) {
		t.Errorf("over a lowered limit and no smaller: %v", err)
	}
	if next, err := d.Apply(body(99), 2, lower); err != nil || next.StateBytes() != 99 {
		t.Errorf("over a lowered limit and smaller: %v", err)
	}
	deep := update(t, `{"state":{"desired":{"a":{"b":{"c":1}}}}}`)
	if _, err := d.Apply(deep, 1, shadow.Limits{Depth: 2}); !errors.As(err, &limit) || *limit != (shadow.LimitError{Field: "depth", Limit: 2, Got: 3}) {
		t.Errorf("too deep: %v", err)
	}
}

// TestApply_ChecksUpdatesThatWereNotParsed: what could not be read back from a
// record, or is no section, is refused whoever made it.
func TestApply_ChecksUpdatesThatWereNotParsed(t *testing.T) {
	for _, patch := range []string{`{"a":[null]}`, `{"a":[{"b":null}]}`, `[]`, `5`} {
		for _, u := range []shadow.Update{
			{Desired: shadow.Section{Present: true, Patch: parse(t, patch)}},
			{Reported: shadow.Section{Present: true, Patch: parse(t, patch), Replace: true}},
		} {
			var invalid *shadow.InvalidError
			if next, err := (*shadow.Document)(nil).Apply(&u, 1, wide); !errors.As(err, &invalid) || next != nil {
				t.Errorf("%s was taken: %v", patch, err)
			}
		}
	}
}

// TestApply_KeepsNoRequestAlive: a document is kept for long, and must not hold
// on to the body of every request that touched it.
func TestApply_KeepsNoRequestAlive(t *testing.T) {
	d := apply(t, nil, `{"state":{"reported":{"long":"`+strings.Repeat("x", 1000)+`","a":{"b":[1,true,"y"]}}}}`)
	again := apply(t, d, `{"state":{"reported":{"a":{"b":[2,false,"z"]}}}}`)
	if again.Reported.Get("long") != d.Reported.Get("long") {
		t.Error("what an update doesn't name is shared")
	}
	u := update(t, `{"state":{"reported":{"k":"value","n":12,"l":["e"]}}}`)
	next, err := (*shadow.Document)(nil).Apply(u, 1, wide)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range [][]string{{"k"}, {"n"}} {
		if sameMemory(u.Reported.Patch.At(path...).Text(), next.Reported.At(path...).Text()) {
			t.Errorf("%v lies in the request", path)
		}
	}
	for key := range apply(t, next, `{"state":{"reported":{"n":13}}}`).Reported.Members() {
		for old := range next.Reported.Members() {
			if key == old && !sameMemory(key, old) {
				t.Errorf("key %s is another string after an update that names it", key)
			}
		}
	}
}

func TestStamps_BeforeTheEpoch(t *testing.T) {
	if got := shadow.Merge(nil, parse(t, `1`), -5).Stamp(); got != -5 {
		t.Errorf("stamp %d", got)
	}
}
