package rest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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

// A list and an export refuse the same, in the same words.
func TestReadings_Refused(t *testing.T) {
	s := withReadings(t, 2, 1)
	get := func(path, query string) (int, string) {
		rec := request(s, func(r *http.Request) { r.URL = &url.URL{Path: path, RawQuery: query} })
		return rec.Code, rec.Body.String()
	}
	for _, bad := range []string{
		"node=n%00p", "node=a/b", "policy=P", "policy=p%00", "meter=m%00", "meter=m%0Am", "item=V%00", "meter=" + strings.Repeat("m", 65),
		"from=yesterday", "to=1", "from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z",
	} {
		status, why := get("/v1/readings", bad)
		if status != http.StatusBadRequest || !strings.Contains(why, `"detail"`) {
			t.Errorf("list of %s: %d %s", bad, status, why)
		}
		if s, w := get(readingsExportPath, bad); s != status || w != why {
			t.Errorf("%s: a list says %d %s, an export %d %s", bad, status, why, s, w)
		}
	}
	for _, bad := range []string{"format=xlsx", "form=csv"} {
		if status, why := get(readingsExportPath, bad); status != http.StatusBadRequest || !strings.Contains(why, `"detail"`) {
			t.Errorf("%s: %d %s", bad, status, why)
		}
	}
}

func TestReadingsExport(t *testing.T) {
	server := httptest.NewServer(withReadings(t, 2, 1).Handler())
	defer server.Close()
	for format, begin := range map[string]string{"": "node,policy", "&format=csv": "node,policy", "&format=parquet": "PAR1", "&format=ndjson": "{", "&format=influx": "reading,"} {
		answer, err := http.Get(server.URL + readingsExportPath + "?" + readingsSpan + format)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), begin) || strings.Contains(answer.Header.Get("Content-Type"), "problem") {
			t.Errorf("%s: %d %v %.100q, %v", format, answer.StatusCode, answer.Header, body, err)
		}
	}
}

func TestLive(t *testing.T) {
	for path, want := range map[string]bool{
		"/v1/nodes/n1/read": true, "/v1/nodes/:node/read": true, "/v1/nodes/read/read": true,
		"/v1/nodes/n1/apps/read": false, "/v1/nodes/n1/policies/read": false, "/v1/nodes/read": false, "/v1/nodes//read": false, "/v1/nodes/n1/ready": false,
	} {
		if live(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}
