package schema

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// many is a policy for n meters of a model.
func many(source, period, model string, n int) string {
	var meters []string
	for i := range n {
		where := fmt.Sprintf(`"address":"%012d"`, i+1)
		if model == "sdm630" {
			where = fmt.Sprintf(`"unit":%d`, i%200+1)
		}
		meters = append(meters, fmt.Sprintf(`{"id":"m%d",%s,"model":%q}`, i, where, model))
	}
	return `{"period":"` + period + `","source":{` + source + `},"meters":[` + strings.Join(meters, ",") + `]}`
}

// A policy that its line has no time for is refused with the time it needs; with
// that time it is taken.
func TestParsePolicy_Admission(t *testing.T) {
	for _, c := range []struct {
		name, source, model string
		meters              int
		tooShort, enough    string
		says                []string
	}{
		{"DL/T 645 at 2400", `"kind":"dlt645","port":"/dev/ttyS1"`, "dlt645-1p", 64, "1m", "3m", []string{"64 meters", "576 requests at 2400 baud", "value 1m0s"}},
		{"DL/T 698.45 at 9600", `"kind":"dlt698","port":"/dev/ttyS1"`, "dlt698-3p", 100, "30s", "2m", []string{"400 requests at 9600 baud"}},
		{"Modbus at 9600", `"kind":"modbus-rtu","port":"/dev/ttyS1"`, "sdm630", 100, "10s", "30s", []string{"at 9600 baud need at least"}},
		{"a pause behind a serial server", `"kind":"dlt645-tcp","address":"h:26","pause":"1s"`, "dlt645-1p", 10, "1m", "2m", []string{"90 requests need at least 1m31.8s"}},
		{"a CCO's line", `"kind":"q376","port":"/dev/ttyS1"`, "dlt645-1p", 300, "1m", "3m", []string{"300 requests at 9600 baud, 5 meters at once"}},
		{"a CCO over TCP", `"kind":"q376-tcp","address":"h:26","parallel":20`, "dlt698-1p", 1000, "20s", "1m", []string{"20 meters at once"}},
	} {
		_, err := ParsePolicy([]byte(many(c.source, c.tooShort, c.model, c.meters)))
		wantProblem(t, err, "period")
		for _, says := range c.says {
			if err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v does not say %q", c.name, err, says)
			}
		}
		if _, err := ParsePolicy([]byte(many(c.source, c.enough, c.model, c.meters))); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A dead meter costs its tries; behind a CCO others are read meanwhile.
func TestBusTime_Dead(t *testing.T) {
	for source, want := range map[string]time.Duration{
		`"kind":"dlt645","port":"/dev/ttyS1","tries":3,"timeout":"2s"`: 6 * time.Second,
		`"kind":"q376-tcp","address":"h:26","parallel":9`:              10 * time.Second,
	} {
		p, err := ParsePolicy([]byte(many(source, "15m", "dlt645-1p", 20)))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.BusTime(p.Source.Kind.Fastest()).Dead; got != want {
			t.Errorf("%s: %v, want %v", source, got, want)
		}
	}
}

// More meters, items or pause never need less time; more baud and places never more.
func TestBusTime_Grows(t *testing.T) {
	slot := func(text string) time.Duration {
		p, err := ParsePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p.BusTime(p.Source.Kind.Fastest()).Slot
	}
	line := `"kind":"dlt645","port":"/dev/x","baud":`
	cco := `"kind":"q376","port":"/dev/x","parallel":`
	for _, rising := range [][]string{
		{many(line+"2400", "1h", "dlt645-1p", 1), many(line+"2400", "1h", "dlt645-1p", 2), many(line+"2400", "1h", "dlt645-3p", 2), many(line+`2400,"pause":"1s"`, "1h", "dlt645-3p", 2)},
		{many(line+"19200", "1h", "dlt645-1p", 9), many(line+"9600", "1h", "dlt645-1p", 9), many(line+"1200", "1h", "dlt645-1p", 9)},
		{many(cco+"20", "1h", "dlt645-1p", 99), many(cco+"5", "1h", "dlt645-1p", 99), many(cco+"1", "1h", "dlt645-1p", 99), many(cco+`1,"framesPerRead":1`, "1h", "dlt645-1p", 99)},
	} {
		for i := 1; i < len(rising); i++ {
			if a, b := slot(rising[i-1]), slot(rising[i]); a >= b {
				t.Errorf("%v, then %v: %.90s", a, b, rising[i])
			}
		}
	}
}
