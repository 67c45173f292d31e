package schema

import (
	"testing"
	"time"
)

func TestBeside_IsReported(t *testing.T) {
	if (*Beside)(nil).Value() != nil {
		t.Error("nothing is something")
	}
	b := &Beside{State: "running", PID: 7, StartedAt: time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC), Addresses: []string{"10.0.0.2"}}
	want := `{"addresses":["10.0.0.2"],"pid":7,"startedAt":"2024-05-01T12:00:00Z","state":"running"}`
	if got := string(b.Value().AppendJSON(nil)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := string((&Beside{State: "starting"}).Value().AppendJSON(nil)); got != `{"state":"starting"}` {
		t.Error(got)
	}
}

// How long a run configuration has to be well follows from how it follows another.
func TestUpdate_Defaults(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`{}`:                                      0,
		`{"strategy":"stop-first"}`:               0,
		`{"strategy":"auto"}`:                     10 * time.Second,
		`{"strategy":"start-first"}`:              10 * time.Second,
		`{"strategy":"auto","rollback":true}`:     30 * time.Second,
		`{"strategy":"auto","healthy":"1h"}`:      time.Hour,
		`{"strategy":"stop-first","shared":true}`: 0,
	} {
		a, err := ParseApplication([]byte(`{"component":"a@1","update":` + text + `}`))
		if err != nil || a.Update.Healthy.D() != want {
			t.Errorf("%s: %+v %v, want %s", text, a, err, want)
		}
	}
}
