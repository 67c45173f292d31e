package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew; review the difference")

// unit is a line of testdata/units.txt.
type unit struct {
	place
	name string
	data []byte
}

func (u unit) frame() *Frame {
	f := &Frame{Control: HPLC.Request(), AFN: u.afn, Fn: u.fn, Data: u.data}
	if u.up {
		f.Control = HPLC.Report()
	}
	return f
}

func units(t testing.TB) (all []unit) {
	t.Helper()
	text, err := os.ReadFile("testdata/units.txt")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^([0-9A-F]{2}) F([0-9]+) (up|down):([ 0-9A-F]*)$`)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := form.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("%q is not of the form", line)
		}
		fn, err := strconv.ParseUint(m[2], 10, 8)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(line, ":")
		all = append(all, unit{place{AFN(unhex(t, m[1])[0]), Fn(fn), m[3] == "up"}, name, unhex(t, strings.ReplaceAll(m[4], " ", ""))})
	}
	return all
}

func TestUnits_Golden(t *testing.T) {
	var got bytes.Buffer
	for _, u := range units(t) {
		checkUnit(t, u.place, u.data)
		p, err := u.frame().Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Explain(p, nil)
		if err != nil {
			t.Errorf("%s: %v", u.name, err)
			continue
		}
		text, err := json.MarshalIndent(e.Data, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		unique(t, u.name, e.Data)
		fmt.Fprintf(&got, "%s: %s\n%s\n\n", u.name, e.Fn, text)
	}
	goldenFile(t, "testdata/units.golden", got.Bytes())
}

// unique makes sure that no object says two things by one name.
func unique(t *testing.T, where string, v any) {
	t.Helper()
	switch v := v.(type) {
	case Object:
		seen := map[string]bool{}
		for _, m := range v {
			if seen[m.Name] {
				t.Errorf("%s: %s is there twice", where, m.Name)
			}
			seen[m.Name] = true
			unique(t, where+" "+m.Name, m.Value)
		}
	case []any:
		for _, e := range v {
			unique(t, where, e)
		}
	}
}

// Every data unit that is cut, and every one with a byte too many, is refused,
// but for those whose form says otherwise.
func TestUnits_Bounds(t *testing.T) {
	open := map[string]bool{ // they end with the frame, or nearly
		"03 F5 up": true, "03 F10 up": true, "14 F4 down": true,
		"11 F231 down": true, // a kind of meter without items may lack its length
	}
	for _, u := range units(t) {
		f := u.frame()
		data := u.data
		for n := range data {
			f.Data = data[:n]
			if err := f.Check(); err == nil && !open[u.name] {
				t.Errorf("%s: %d of %d bytes are taken", u.name, n, len(data))
			}
			checkUnit(t, u.place, f.Data)
		}
		f.Data = append(bytes.Clone(data), 0)
		if err := f.Check(); err == nil && u.name != "14 F4 down" {
			t.Errorf("%s: a byte too many is taken", u.name)
		}
		checkUnit(t, u.place, f.Data)
	}
}

// Every Fn that is known has been tried in every direction that it has.
func TestUnits_Complete(t *testing.T) {
	tried := map[place]bool{}
	for _, u := range units(t) {
		tried[u.place] = true
	}
	for afn, fns := range entries {
		for fn, e := range fns {
			for _, up := range []bool{false, true} {
				forms := e.down
				if up {
					forms = e.up
				}
				bare := len(forms) == 1 && len(forms[0]) == 0
				same := afn == AFNRouteQuery && len(forms) == 1 && len(forms[0]) == 2 && !up // from and count, as F2
				if forms != nil && !tried[place{afn, fn, up}] && !bare && !same {
					t.Errorf("%v-%v, up: %v", afn, fn, up)
				}
			}
		}
	}
	for p := range coders {
		if !tried[p] {
			t.Errorf("%v-%v, up: %v has a type", p.afn, p.fn, p.up)
		}
	}
}

// coder decodes a data unit and encodes it again.
type coder func(data []byte) ([]byte, error)

type dataUnit[T any] interface {
	*T
	Decode([]byte) error
	Append([]byte) ([]byte, error)
}

func coding[T any, P dataUnit[T]]() coder {
	return func(data []byte) ([]byte, error) {
		var v T
		if err := P(&v).Decode(data); err != nil {
			return nil, err
		}
		return P(&v).Append(nil)
	}
}

// place is where data units are of one form.
type place struct {
	afn AFN
	fn  Fn
	up  bool
}

// coders are the data units that have types.
var coders = map[place]coder{
	{AFNConfirm, 1, true}: func(b []byte) ([]byte, error) {
		var c Confirm
		err := c.Decode(b)
		return c.Append(nil), err
	},
	{AFNForward, 1, false}: coding[Forward](),
	{AFNForward, 1, true}:  coding[Forward](),
	{AFNQuery, 1, true}: func(b []byte) ([]byte, error) {
		var v Version
		err := v.Decode(b)
		return v.Append(nil), err
	},
	{AFNQuery, 10, true}: coding[RunMode](),
	{AFNControl, 101, false}: func(b []byte) ([]byte, error) {
		t, err := DecodeClock(b)
		if err != nil {
			return nil, err
		}
		return AppendClock(nil, t)
	},
	{AFNReport, 2, true}:   coding[ReadReport](),
	{AFNReport, 230, true}: coding[TaskReport](),
	{AFNReport, 5, true}: func(b []byte) ([]byte, error) {
		var r EventReport
		if err := r.Decode(b); err != nil {
			return nil, err
		}
		if r.Kind == PowerEvent {
			if _, err := r.Power(); err != nil && !errors.Is(err, ErrValue) {
				return nil, err
			}
		}
		return r.Append(nil)
	},
	{AFNRouteQuery, 1, true}: func(b []byte) ([]byte, error) {
		var n Counts
		err := n.Decode(b)
		return n.Append(nil), err
	},
	{AFNRouteQuery, 2, false}: func(b []byte) ([]byte, error) {
		var p Part
		err := p.Decode(b)
		return p.Append(nil), err
	},
	{AFNRouteQuery, 2, true}: coding[NodeList](),
	{AFNRouteQuery, 5, true}: coding[NodeList](),
	{AFNRouteQuery, 6, true}: coding[NodeList](),
	{AFNRouteSet, 1, false}: func(b []byte) ([]byte, error) {
		l, err := DecodeNodes(b)
		if err != nil || l.Len() == 0 {
			return b, err
		}
		var nodes []Node
		for i := range l.Len() {
			nodes = append(nodes, l.At(i))
		}
		return AppendNodes(nil, nodes)
	},
	{AFNRouteSet, 2, false}: func(b []byte) ([]byte, error) {
		l, err := DecodeDelete(b)
		if err != nil {
			return nil, err
		}
		return AppendDelete(nil, l)
	},
	{AFNRouteSet, 231, false}: coding[Task](),
	{AFNRouteSet, 232, false}: coding[TaskNodes](),
	{AFNMonitor, 1, false}:    coding[Monitor](),
	{AFNMonitor, 1, true}:     coding[MonitorReply](),
	{AFNRouteRead, 1, true}:   coding[ReadQuery](),
	{AFNRouteRead, 1, false}:  coding[ReadAnswer](),
	{AFNRouteRead, 3, true}:   coding[DelayQuery](),
	{AFNRouteRead, 3, false}: func(b []byte) ([]byte, error) {
		content, err := DecodeDelayAnswer(b)
		if err != nil {
			return nil, err
		}
		return AppendDelayAnswer(nil, content)
	},
	{AFNConcurrent, 1, false}: coding[ConcurrentRead](),
	{AFNConcurrent, 1, true}:  coding[ConcurrentReply](),
}

// checkUnit holds the types to the layouts that frames are explained by: they
// were written apart, and must take the same bytes.
func checkUnit(t *testing.T, p place, data []byte) {
	t.Helper()
	code := coders[p]
	if code == nil || len(data) > MaxData {
		return
	}
	f := Frame{Control: HPLC.Request(), AFN: p.afn, Fn: p.fn, Data: data}
	if p.up {
		f.Control = HPLC.Reply()
	}
	again, err := code(data)
	form := f.Check()
	if err == nil && !bytes.Equal(again, data) {
		t.Errorf("%v-%v: % X is encoded as % X", p.afn, p.fn, data, again)
	}
	stricter := p.afn == AFNRouteRead && p.fn == 1 && !p.up // a verdict has to fit the rest
	looser := p.afn == AFNReport && p.fn == 5               // events that aren't of power are left alone
	if err == nil && form != nil && !looser || err != nil && form == nil && !stricter {
		t.Errorf("%v-%v: % X: the type says %v, the layout %v", p.afn, p.fn, data, err, form)
	}
}
