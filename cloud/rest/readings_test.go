package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/readings"
	"gnomon/cloud/readings/readingstest"
	pebblereadings "gnomon/cloud/store/pebble/readings"
	"gnomon/schema/reading"
)

// unheard is a publisher that nobody listens to.
type unheard struct{}

func (unheard) Publish(string, []byte) {}

// withReadings is a server with a store that has some rows of one meter, a minute
// apart, of so many items each.
func withReadings(t *testing.T, rows, items int) *Server {
	t.Helper()
	store, err := pebblereadings.Open(pebblereadings.Config{Dir: "d", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	readingstest.Start(t, store)
	names := make([]string, items)
	for i := range names {
		names[i] = fmt.Sprintf("item%03d", i)
	}
	for from := 0; from < rows; from += reading.MaxValues / items {
		b := &reading.Batch{ID: 1, Policy: "p", Version: 1, Items: names}
		for i := from; i < min(rows, from+reading.MaxValues/items); i++ {
			at := readingstest.Day.Add(time.Duration(i) * time.Minute)
			b.Rows = append(b.Rows, reading.Row{Meter: "m", At: at, Arrived: at, Source: reading.Cycle, Values: make([]reading.Value, items)})
			for k := range names {
				b.Rows[i-from].Values[k] = reading.Value{State: reading.Good, Number: reading.Number{Mantissa: 1}}
			}
		}
		readingstest.Put(t, store, readings.Told{Node: "n", Batch: b, Stored: readingstest.Day})
	}
	taken, err := readings.New(readings.Config{Sink: store, Store: store, Publisher: unheard{}})
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Readings: taken})
}

var readingsSpan = "from=" + readingstest.Day.Format(time.RFC3339) + "&to=" + readingstest.Day.AddDate(0, 0, 1).Format(time.RFC3339)

// A part of a list has as many values as fit into memory for many who ask, however
// many each row has, and at least one row.
func TestListReadings_Parts(t *testing.T) {
	const rows, items = 350, 300
	s := withReadings(t, rows, items)
	got, parts, token := 0, 0, ""
	for ; parts < rows; parts++ {
		rec := request(s, func(r *http.Request) {
			r.URL, _ = url.Parse("/v1/readings?limit=5000&" + readingsSpan + token)
		})
		var page struct {
			Items []struct {
				At     time.Time      `json:"at"`
				Values map[string]any `json:"values"`
			} `json:"items"`
			Continue string `json:"continue"`
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &page); err != nil || rec.Code != http.StatusOK {
			t.Fatalf("%d %.300s, %v", rec.Code, rec.Body, err)
		}
		if n := len(page.Items); n == 0 || n*items > maxListed+items {
			t.Fatalf("part %d has %d rows of %d values", parts, n, items)
		}
		for _, it := range page.Items {
			if want := readingstest.Day.Add(time.Duration(got) * time.Minute); !it.At.Equal(want) || len(it.Values) != items {
				t.Fatalf("row %d is of %s, with %d values", got, it.At, len(it.Values))
			}
			got++
		}
		if page.Continue == "" {
			break
		}
		token = "&continue=" + page.Continue
	}
	if got != rows || parts < rows*items/maxListed-1 {
		t.Errorf("%d rows in %d parts", got, parts+1)
	}
	if rec := request(s, func(r *http.Request) { r.URL, _ = url.Parse("/v1/readings?limit=2&" + readingsSpan) }); strings.Count(rec.Body.String(), `"at"`) != 2 {
		t.Errorf("of two: %.300s", rec.Body)
	}
}
