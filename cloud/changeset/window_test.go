package changeset

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tests name zones, whatever the machine has

	"pgregory.net/rapid"
)

func TestNextOpen(t *testing.T) {
	for name, test := range map[string]struct {
		window, at, want string // RFC 3339
	}{
		"open now":                         {"09:00-17:00", "2026-06-03T12:00:00Z", "2026-06-03T12:00:00Z"},
		"opens today":                      {"09:00-17:00", "2026-06-03T08:59:59Z", "2026-06-03T09:00:00Z"},
		"the end is no part of it":         {"09:00-17:00", "2026-06-03T17:00:00Z", "2026-06-04T09:00:00Z"},
		"over midnight":                    {"22:00-04:00", "2026-06-03T03:59:59Z", "2026-06-03T03:59:59Z"},
		"over midnight, by the day before": {"tue 22:00-04:00", "2026-06-03T03:00:00Z", "2026-06-03T03:00:00Z"},
		"not by the day itself":            {"wed 22:00-04:00", "2026-06-03T03:00:00Z", "2026-06-03T22:00:00Z"},
		"next week":                        {"wed 09:00-10:00", "2026-06-03T10:00:00Z", "2026-06-10T09:00:00Z"},
		"the weekend":                      {"sat,sun 00:00-24:00", "2026-06-03T10:00:00Z", "2026-06-06T00:00:00Z"},
		"over the week's end":              {"fri-mon 10:00-11:00", "2026-06-09T10:30:00Z", "2026-06-12T10:00:00Z"},
		"a zone":                           {"22:00-23:00 Asia/Shanghai", "2026-06-03T12:00:00Z", "2026-06-03T14:00:00Z"},
		"a zone's day":                     {"thu 00:00-01:00 Asia/Shanghai", "2026-06-03T12:00:00Z", "2026-06-03T16:00:00Z"},

		// Berlin puts its clocks forward on 2026-03-29, from 02:00 to 03:00 (01:00Z),
		// and back on 2026-10-25, from 03:00 to 02:00 (01:00Z).
		"what is left out is no part":    {"02:15-02:45 Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-30T00:15:00Z"},
		"begins in what is left out":     {"02:30-05:00 Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T01:00:00Z"},
		"after clocks are put forward":   {"04:00-05:00 Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T02:00:00Z"},
		"twice, the first time":          {"02:15-02:45 Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T00:15:00Z"},
		"twice, the second time":         {"02:15-02:45 Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z"},
		"after clocks are put back":      {"04:00-05:00 Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T03:00:00Z"},
		"over midnight and the change":   {"sat 22:00-02:30 Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z"},
		"half an hour, as on Lord Howe":  {"02:15-02:45 Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"},
		"a day that was left out (Apia)": {"fri 00:00-24:00 Pacific/Apia", "2011-12-29T12:00:00Z", "2012-01-05T10:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := ParseWindow(test.window)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, test.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := time.Unix(NextOpen([]Window{w}, at.Unix()), 0).UTC().Format(time.RFC3339); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	a, _ := ParseWindow("10:00-11:00")
	b, _ := ParseWindow("08:00-09:00")
	at := time.Date(2026, 6, 3, 9, 30, 0, 0, time.UTC)
	if got := NextOpen([]Window{b, a}, at.Unix()); got != at.Add(30*time.Minute).Unix() {
		t.Errorf("the sooner of two: %v", time.Unix(got, 0).UTC())
	}
	if got := NextOpen(nil, 7); got != 7 {
		t.Errorf("without windows: %d", got)
	}
}

// What is found is the first minute that is open, as a look at every minute finds it.
func TestNextOpen_IsTheFirst(t *testing.T) {
	zones := []string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo", "Africa/Casablanca"}
	rapid.Check(t, func(t *rapid.T) {
		minute := rapid.IntRange(0, 24*60-1)
		text := func(m int) string {
			return time.Date(0, 1, 1, m/60, m%60, 0, 0, time.UTC).Format("15:04")
		}
		w := Window{From: text(minute.Draw(t, "from")), To: text(minute.Draw(t, "to")), Zone: rapid.SampledFrom(zones).Draw(t, "zone")}
		for _, d := range days {
			if rapid.Bool().Draw(t, d) {
				w.Days = append(w.Days, d)
			}
		}
		h, err := w.hours()
		if err != nil {
			t.Fatal(err)
		}
		// Around the days on which clocks are changed, above all.
		from := rapid.SampledFrom([]time.Time{
			time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC),
			time.Date(2026, 3, 7, 20, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 3, 10, 0, 0, 0, time.UTC), time.Date(2018, 11, 3, 20, 0, 0, 0, time.UTC),
		}).Draw(t, "base").Add(time.Duration(rapid.IntRange(0, 2*24*60).Draw(t, "offset")) * time.Minute)
		got := h.next(from)
		want := from
		for !h.open(want) {
			if want = want.Add(time.Minute); want.Sub(from) > 9*24*time.Hour {
				t.Fatalf("%+v from %v: never open, got %v", w, from, got)
			}
		}
		if !got.Equal(want) {
			t.Fatalf("%+v from %v: got %v, want %v", w, from, got.UTC(), want.UTC())
		}
	})
}

func TestParseWindow_Refuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                             "a window is DAYS FROM-TO ZONE",
		`mon-fri`:                      "a window is",
		`foo 10:00-11:00`:              `got "foo"`,
		`mon-foo 10:00-11:00`:          `got "mon-foo"`,
		`10:00`:                        "times are FROM-TO",
		`10:00-25:00`:                  `got "25:00"`,
		`24:00-10:00`:                  "a day begins at 00:00",
		`10:00-11:00 Mars/Olympus`:     `zone "Mars/Olympus" is not known`,
		`10:00-11:00 Local`:            `zone "Local"`,
		`mon 10:00-11:00 Asia/Tokyo x`: "a window is",
	} {
		if _, err := ParseWindow(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	var w Window
	if err := json.Unmarshal([]byte(`{"days":["Mon"],"from":"10:00","to":"11:00","zone":"Asia/Tokyo"}`), &w); err != nil || w.Days[0] != "mon" {
		t.Errorf("%+v, %v", w, err)
	}
	if err := json.Unmarshal([]byte(`"mon,wed-thu 22:00-04:00 Asia/Tokyo"`), &w); err != nil || strings.Join(w.Days, " ") != "mon wed thu" {
		t.Errorf("%+v, %v", w, err)
	}
	if err := json.Unmarshal([]byte(`{"from":"10:00","until":"11:00"}`), &w); err == nil || !strings.Contains(err.Error(), "windows: ") {
		t.Errorf("an unknown member: %v", err)
	}
}
