package shadow_test

import (
	"testing"

	"gnomon/shadow"
)

// TestMerge_RFC7396 is appendix A of the RFC, case by case. "" is absent.
func TestMerge_RFC7396(t *testing.T) {
	for _, c := range []struct{ base, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, ``},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		base := parse(t, c.base)
		if got := text(shadow.Merge(base, parse(t, c.patch), 1)); got != c.want {
			t.Errorf("Merge(%s, %s) = %s, want %s", c.base, c.patch, got, c.want)
		}
		if text(base) != c.base {
			t.Errorf("Merge changed its base %s to %s", c.base, text(base))
		}
	}
}

func TestMerge_MoreThanTheAppendix(t *testing.T) {
	for name, c := range map[string]struct{ base, patch, want string }{
		"nothing merged over nothing":         {``, `null`, ``},
		"an object over nothing":              {``, `{"a":1,"b":null}`, `{"a":1}`},
		"an empty object changes nothing":     {`{"a":1}`, `{}`, `{"a":1}`},
		"an empty object replaces a leaf":     {`{"a":3}`, `{"a":{}}`, `{"a":{}}`},
		"an empty object in place of a list":  {`{"a":[1]}`, `{"a":{}}`, `{"a":{}}`},
		"an empty object over an object":      {`{"a":{"b":1}}`, `{"a":{}}`, `{"a":{"b":1}}`},
		"nulls leave an empty object":         {`{"a":{"b":1}}`, `{"a":{"b":null}}`, `{"a":{}}`},
		"a null for what isn't there":         {`{"a":1}`, `{"b":null}`, `{"a":1}`},
		"keys in between, before and after":   {`{"b":1,"d":2}`, `{"a":0,"c":0,"d":3,"e":4}`, `{"a":0,"b":1,"c":0,"d":3,"e":4}`},
		"an array is replaced, not merged":    {`{"a":[{"x":1,"y":2}]}`, `{"a":[{"x":5}]}`, `{"a":[{"x":5}]}`},
		"an array is taken as it is":          {``, `{"a":[null,{"x":null}]}`, `{"a":[null,{"x":null}]}`},
		"an escaped key is the same key":      {`{"a":1}`, `{"\u0061":2}`, `{"a":2}`},
		"an object in place of a leaf":        {`{"a":1}`, `{"a":{"b":{"c":null,"d":1}}}`, `{"a":{"b":{"d":1}}}`},
		"a leaf in place of an object":        {`{"a":{"b":1}}`, `{"a":7}`, `{"a":7}`},
		"a number keeps the text of the last": {`{"a":1}`, `{"a":1.00}`, `{"a":1.00}`},
	} {
		if got := text(shadow.Merge(parse(t, c.base), parse(t, c.patch), 1)); got != c.want {
			t.Errorf("%s: Merge(%s, %s) = %s, want %s", name, c.base, c.patch, got, c.want)
		}
	}
}

func TestMerge_StampsWhatIsNamedAndSharesTheRest(t *testing.T) {
	base := shadow.Merge(nil, parse(t, `{"a":{"x":1,"y":2},"b":{"z":[1,{"q":2}]},"c":3}`), 10)
	next := shadow.Merge(base, parse(t, `{"a":{"x":1},"d":[4]}`), 20)
	want := `{"a":{"x":{"timestamp":20},"y":{"timestamp":10}},"b":{"z":[{"timestamp":10},{"q":{"timestamp":10}}]},` +
		`"c":{"timestamp":10},"d":[{"timestamp":20}]}`
	if got := string(next.AppendMetadata(nil)); got != want {
		t.Errorf("metadata\n got %s\nwant %s", got, want)
	}
	if next.Get("b") != base.Get("b") || next.At("a", "y") != base.At("a", "y") {
		t.Error("what the patch doesn't name must be shared")
	}
	if next.At("a", "x") == base.At("a", "x") {
		t.Error("a leaf with a new stamp can't be the old one")
	}
}

func TestDiff(t *testing.T) {
	for name, c := range map[string]struct{ desired, reported, want string }{
		"nothing desired":                        {``, `{"a":1}`, ``},
		"nothing reported":                       {`{"a":1}`, ``, `{"a":1}`},
		"the same":                               {`{"a":1}`, `{"a":1}`, ``},
		"a flipped flag":                         {`{"on":true}`, `{"on":false}`, `{"on":true}`},
		"a missing key":                          {`{"a":1,"b":2}`, `{"a":1}`, `{"b":2}`},
		"only reported has it":                   {`{"a":1}`, `{"a":1,"b":2}`, ``},
		"a nested difference, path to the root":  {`{"a":{"b":{"c":1,"d":2}}}`, `{"a":{"b":{"c":1,"d":3}}}`, `{"a":{"b":{"d":2}}}`},
		"a list that differs appears whole":      {`{"l":["v1","v2"]}`, `{"l":["v1"]}`, `{"l":["v1","v2"]}`},
		"a list in another order differs":        {`{"l":[1,2]}`, `{"l":[2,1]}`, `{"l":[1,2]}`},
		"an empty list against a full one":       {`{"l":[]}`, `{"l":["v1"]}`, `{"l":[]}`},
		"lists compare numbers by value":         {`{"l":[1,{"x":2.0}]}`, `{"l":[1.0,{"x":2}]}`, ``},
		"a list of objects that differ":          {`{"l":[{"x":1},{"x":2}]}`, `{"l":[{"x":1},{"x":3}]}`, `{"l":[{"x":1},{"x":2}]}`},
		"a list's object lacks a key":            {`{"l":[{"x":1}]}`, `{"l":[{"x":1,"y":2}]}`, `{"l":[{"x":1}]}`},
		"numbers by value":                       {`{"a":1,"b":10e-1,"c":-0}`, `{"a":1.0,"b":1,"c":0}`, ``},
		"number and string differ":               {`{"a":1}`, `{"a":"1"}`, `{"a":1}`},
		"an object where a leaf is":              {`{"a":{"b":1}}`, `{"a":5}`, `{"a":{"b":1}}`},
		"a leaf where an object is":              {`{"a":5}`, `{"a":{"b":1}}`, `{"a":5}`},
		"a list where an object is":              {`{"a":[]}`, `{"a":{}}`, `{"a":[]}`},
		"an empty object that is missing":        {`{"d":{}}`, `{"e":1}`, `{"d":{}}`},
		"an empty object over a leaf":            {`{"b":{"c":{}}}`, `{"b":{"c":3}}`, `{"b":{"c":{}}}`},
		"an empty object over a full one":        {`{"a":{}}`, `{"a":{"b":1}}`, ``},
		"an empty object in an otherwise equal":  {`{"a":1,"d":{}}`, `{"a":1}`, `{"d":{}}`},
		"keys before, between and after":         {`{"b":1,"d":1,"f":1}`, `{"a":1,"c":1,"d":1,"e":1,"g":1}`, `{"b":1,"f":1}`},
		"several branches":                       {`{"a":{"x":1},"b":{"y":2},"c":3}`, `{"a":{"x":2},"b":{"y":2}}`, `{"a":{"x":1},"c":3}`},
		"a key with other letters is another":    {`{"A":1}`, `{"a":1}`, `{"A":1}`},
		"text and its decomposed form differ":    {`{"a":"é"}`, `{"a":"e\u0301"}`, `{"a":"é"}`},
		"escaped and plain text are the same":    {`{"a":"\u0062"}`, `{"a":"b"}`, ``},
		"null and false are not the same":        {`{"a":false}`, `{"a":0}`, `{"a":false}`},
		"large numbers don't collapse":           {`{"a":9007199254740993}`, `{"a":9007199254740992}`, `{"a":9007199254740993}`},
		"the same object twice is shared, equal": {`{"a":{"b":{"c":[1,2,3]}}}`, `{"a":{"b":{"c":[1,2,3]}}}`, ``},
	} {
		desired, reported := shadow.Merge(nil, parse(t, c.desired), 7), shadow.Merge(nil, parse(t, c.reported), 8)
		got := shadow.Diff(desired, reported)
		if text(got) != c.want {
			t.Errorf("%s: Diff(%s, %s) = %s, want %s", name, c.desired, c.reported, text(got), c.want)
		}
	}
}

func TestDiff_KeepsTheStampsOfDesired(t *testing.T) {
	desired := shadow.Merge(shadow.Merge(nil, parse(t, `{"a":1,"l":[1,2]}`), 10), parse(t, `{"b":{"c":1}}`), 20)
	delta := shadow.Diff(desired, shadow.Merge(nil, parse(t, `{"a":2,"b":{"c":2},"l":[1]}`), 30))
	want := `{"a":{"timestamp":10},"b":{"c":{"timestamp":20}},"l":[{"timestamp":10},{"timestamp":10}]}`
	if got := string(delta.AppendMetadata(nil)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPatchBetween(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{``, ``, ``},
		{``, `{"a":1}`, `{"a":1}`},
		{`{"a":1}`, ``, `null`},
		{`{"a":1}`, `{"a":1.0}`, ``},
		{`{"a":1,"b":2}`, `{"b":2}`, `{"a":null}`},
		{`{"a":{"x":1,"y":2}}`, `{"a":{"x":1}}`, `{"a":{"y":null}}`},
		{`{"a":{"x":1}}`, `{"a":{}}`, `{"a":{"x":null}}`},
		{`{"a":{"x":1}}`, `{"a":{"y":{}}}`, `{"a":{"x":null,"y":{}}}`},
		{`{"a":[1,2]}`, `{"a":[2]}`, `{"a":[2]}`},
		{`{"a":5}`, `{"a":{}}`, `{"a":{}}`},
		{`{"a":{}}`, `{"a":5}`, `{"a":5}`},
		{`{"b":1}`, `{"a":1,"b":1,"c":{"d":1}}`, `{"a":1,"c":{"d":1}}`},
	} {
		if got := text(shadow.PatchBetween(parse(t, c.from), parse(t, c.to))); got != c.want {
			t.Errorf("PatchBetween(%s, %s) = %s, want %s", c.from, c.to, got, c.want)
		}
	}
}
