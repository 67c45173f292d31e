package collect_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gnomon/edge/collect"
	"gnomon/schema"
)

// applied applies policies to an engine that doesn't run, and returns what is said of
// the last; the others are to be taken.
func applied(t *testing.T, policies ...*schema.Policy) error {
	t.Helper()
	h := newHouse()
	e := collect.New(collect.Config{Drivers: map[schema.SourceKind]collect.Driver{schema.SourceDLT645TCP: h, schema.SourceQ376: h, schema.SourceQ376TCP: h}})
	for i, p := range policies {
		err := e.Apply(string(rune('a'+i)), 1, p)
		if err != nil && !errors.Is(err, collect.ErrCrowded) {
			t.Fatal(err)
		}
		if i == len(policies)-1 {
			return err
		}
		if err != nil {
			t.Fatalf("of %d policies: %v", len(policies), err)
		}
	}
	return nil
}

// demanding is a policy for n meters at a source; more are members besides.
func demanding(t *testing.T, n int, source, more string) *schema.Policy {
	t.Helper()
	var meters []string
	for i := range n {
		meters = append(meters, fmt.Sprintf(`{"id":"m%d","address":"%012d"}`, i+1, i+1))
	}
	p, err := schema.ParsePolicy([]byte(`{"source":{` + source + `},"meters":[` + strings.Join(meters, ",") + `]` + more + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const voltage = `,"items":[{"name":"V","di":"02010100","format":"XXX.X"}]`

func (c crowdCase) check(t *testing.T) {
	t.Helper()
	err := applied(t, c.policies...)
	if (err == nil) != (c.says == nil) {
		t.Errorf("%s: %v", c.name, err)
		return
	}
	for _, says := range c.says {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v does not say %q", c.name, err, says)
		}
	}
}

type crowdCase struct {
	name     string
	policies []*schema.Policy
	says     []string // nil = the last is taken
}

// Policies that never read at the same time leave each other their time; those that do
// are refused, whatever windows and zones they say it by.
func TestApply_CrowdedInWindows(t *testing.T) {
	on := func(n int, period, more string) *schema.Policy {
		return demanding(t, n, `"kind":"dlt645-tcp","address":"h:26","pause":"500ms"`, `,"period":"`+period+`"`+voltage+more)
	}
	const morning, rest = `,"windows":["00:00-12:00"]`, `,"windows":["12:00-00:00"]`
	for _, c := range []crowdCase{
		{"all day", []*schema.Policy{on(70, "1m", ""), on(70, "1m", "")}, []string{"b with 36.4s of every 1m0s (61 %) and a with", "are 122 % of the time"}},
		{"one after the other", []*schema.Policy{on(70, "1m", morning), on(70, "1m", rest)}, nil},
		{"three, of which two meet", []*schema.Policy{on(70, "1m", morning), on(40, "1m", rest), on(50, "1m", `,"windows":["06:00-07:00","20:00-21:00"]`)},
			[]string{"c with 26s of every 1m0s (44 %) and a with 36.4s of every 1m0s (61 %) are 104 %"}},
		{"three, of which two meet at a time", []*schema.Policy{on(70, "1m", morning), on(40, "1m", rest), on(40, "1m", `,"windows":["06:00-07:00","20:00-21:00"]`)}, nil},
		{"by other zones", []*schema.Policy{on(70, "1m", morning), on(70, "1m", rest+`,"zone":"+08:00"`)}, []string{"are 122 % of the time"}},
		{"the same by another zone", []*schema.Policy{on(70, "1m", morning), on(70, "1m", `,"zone":"+08:00","windows":["20:00-08:00"]`)}, nil},
		{"a slot that goes on after its window", []*schema.Policy{on(70, "1m", rest), on(100, "2m", `,"align":"1m","windows":["11:58-12:00"]`)}, []string{"b with 52s of every 2m0s (44 %) and a with"}},
		{"a slot that ends with its window", []*schema.Policy{on(70, "1m", rest), on(100, "2m", `,"windows":["11:58-12:00"]`)}, nil},
		{"a window without a slot", []*schema.Policy{on(70, "1m", ""), on(100, "2m", `,"windows":["11:59-12:00"]`)}, nil},
		{"slots at other times every day", []*schema.Policy{on(70, "1m", morning), on(200, "7m", rest), on(60, "7m", rest), on(70, "7m", rest)},
			[]string{"d with 36.4s of every 7m0s (9 %) and a with 36.4s", "b with 1m44s of every 7m0s (25 %)", "are 102 %"}},
	} {
		c.check(t)
	}
}

// Policies of a CCO share its places, and the least parallel of them counts for all. A
// meter takes one place.
func TestApply_CrowdedPlaces(t *testing.T) {
	of := func(n, parallel int, more string) *schema.Policy {
		return demanding(t, n, fmt.Sprintf(`"kind":"q376-tcp","address":"cco:1","parallel":%d`, parallel), more)
	}
	cco := func(n, parallel int, period, more string) *schema.Policy {
		return of(n, parallel, `,"period":"`+period+`"`+voltage+more)
	}
	var items []string
	for i, it := range [][2]string{{"02010100", "XXX.X"}, {"02020100", "XXX.XXX"}, {"02800001", "XXX.XXX"}, {"02800002", "XX.XX"}} {
		items = append(items, fmt.Sprintf(`{"name":"I%d","di":%q,"format":%q}`, i, it[0], it[1]))
	}
	for i := range 9 {
		items = append(items, fmt.Sprintf(`{"name":"E%d","di":"000%d0000","format":"XXXXXX.XX"}`, i, i))
	}
	long := `,"period":"10s","items":[` + strings.Join(items, ",") + `]`
	line := func(n int, period string) *schema.Policy {
		return demanding(t, n, `"kind":"q376","port":"/dev/ttyS1","parallel":64,"baud":1200`, `,"period":"`+period+`"`+voltage)
	}
	for _, c := range []crowdCase{
		{"many at once beside one at once", []*schema.Policy{cco(300, 20, "10s", ""), cco(1, 1, "1m", "")},
			[]string{"b with 350ms of every 1m0s (1 %) and a with 1m45s of every 10s (1050 %) are 1051 % of the time", "the least source.parallel counts, which is 1"}},
		{"one at once beside many at once", []*schema.Policy{cco(1, 1, "1m", ""), cco(300, 20, "10s", "")}, []string{"b with 1m45s of every 10s (1050 %)"}},
		{"the least leaves enough", []*schema.Policy{cco(300, 20, "1m", ""), cco(1, 2, "1m", "")}, nil},
		{"at other times, but fewer at once", []*schema.Policy{cco(300, 20, "10s", `,"windows":["00:00-12:00"]`), cco(1, 1, "1m", `,"windows":["12:00-00:00"]`)},
			[]string{"a with 1m45s of every 10s (1050 %) is 1050 % of the time"}},
		{"one meter beside many", []*schema.Policy{cco(121, 5, "10s", ""), of(1, 5, long)}, nil},
		{"a meter for each place", []*schema.Policy{cco(121, 5, "10s", ""), of(5, 5, long)}, []string{"b with 2.15s of every 10s (22 %) and a with 8.47s of every 10s (85 %) are 107 %"}},
		{"the line", []*schema.Policy{line(60, "40s"), line(60, "40s")}, []string{"b with 26.4s of every 40s (66 %) and a with 26.4s of every 40s (66 %) are 132 % of the time"}},
		{"half the line", []*schema.Policy{line(60, "40s"), line(20, "40s")}, nil},
	} {
		c.check(t)
	}
}
