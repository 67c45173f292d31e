package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"gnomon/schema/reading"
	"gnomon/shadow/wire"
)

// node is the part of a node's agent that tells of readings.
type node struct {
	t        testing.TB
	name     string
	client   *paho.Client
	verdicts chan reading.Verdict
	topics   wire.Readings
	answers  sync.WaitGroup  // under way
	ctx      context.Context // until the node goes: what isn't answered by then nobody waits for
}

func connectNode(t testing.TB, s *server, name string, answer func(reading.Read) reading.Answer) *node {
	t.Helper()
	conn, err := net.Dial("tcp", s.mqtt)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, name: name, verdicts: make(chan reading.Verdict, 16), topics: wire.Readings{Thing: name}}
	var leave context.CancelFunc
	n.ctx, leave = context.WithCancel(context.Background())
	n.client = paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			if p.Packet.Topic == n.topics.Read() {
				asked, err := reading.ParseRead(p.Packet.Payload)
				if err != nil {
					t.Error(err)
				}
				n.answers.Go(func() { // or its acknowledgement would be waited for here
					a := answer(asked)
					n.publish(n.topics.Answer(), a.Append(nil))
				})
				return true, nil
			}
			v, err := reading.ParseVerdict(p.Packet.Payload)
			if err != nil {
				t.Error(err)
			}
			n.verdicts <- v
			return true, nil
		},
	}})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := n.client.Connect(ctx, &paho.Connect{ClientID: name, CleanStart: true, KeepAlive: 30}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		leave()
		_ = n.client.Disconnect(&paho.Disconnect{})
		<-n.client.Done() // nothing more is asked for
		n.answers.Wait()
	})
	var filters []paho.SubscribeOptions
	for _, topic := range []string{n.topics.Accepted(), n.topics.Rejected(), n.topics.Read()} {
		filters = append(filters, paho.SubscribeOptions{Topic: topic, QoS: 1})
	}
	if _, err := n.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: filters}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) publish(topic string, payload []byte) {
	ctx, cancel := context.WithTimeout(n.ctx, 30*time.Second)
	defer cancel()
	if _, err := n.client.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: payload}); err != nil && n.ctx.Err() == nil {
		n.t.Error(err)
	}
}

// tell publishes a batch and waits for its verdict.
func (n *node) tell(b *reading.Batch) reading.Verdict {
	n.t.Helper()
	b.Sort()
	body, err := b.Append(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	n.publish(n.topics.Batch(), body)
	select {
	case v := <-n.verdicts:
		return v
	case <-time.After(30 * time.Second):
		n.t.Fatal("no verdict")
		return reading.Verdict{}
	}
}

// gnomon runs the command line.
func gnomon(s *server, args ...string) (string, error) {
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(append(args, "--server", s.http))
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

func mustGnomon(t testing.TB, s *server, args ...string) string {
	t.Helper()
	out, err := gnomon(s, args...)
	if err != nil {
		t.Fatalf("gnomon %q: %v", args, err)
	}
	return out
}

// seconds is a policy of two meters that is read every second, by a clock of zone.
const seconds = `{"source":{"kind":"modbus-tcp","address":"127.0.0.1:502"},"zone":%q,"period":"1s","report":{"maxDelay":"1s"},"items":[{"name":"V","address":0}],"meters":[{"id":"m1"},{"id":"m2","unit":2}]}`

// noonish is where it is about noon now: a test's day doesn't end while it runs.
func noonish() *time.Location {
	east := 12 - time.Now().UTC().Hour()
	return time.FixedZone(fmt.Sprintf("%+03d:00", east), east*3600)
}

// What a node tells is in lists, exports, the matrix and the KPIs, and there after
// the cloud was started again.
func TestCollected(t *testing.T) {
	dir := t.TempDir()
	s := startCloud(t, dir)
	zone := noonish()
	for _, n := range []string{"n1", "n2"} {
		call(t, "PUT", s.http+"/v1/nodes/"+n, fmt.Sprintf(`{"node":{"site":"site-%s"}}`, n))
		call(t, "PUT", s.http+"/v1/nodes/"+n+"/policies/fast", fmt.Sprintf(seconds, zone))
	}
	began := time.Now().UTC().Truncate(time.Second).Add(2 * time.Second)
	for i, name := range []string{"n1", "n2"} {
		b := &reading.Batch{ID: uint64(7 + i), Policy: "fast", Version: 1, Items: []string{"V"}}
		for slot := range 3 {
			at := began.Add(time.Duration(slot) * time.Second)
			b.Rows = append(b.Rows,
				reading.Row{Meter: "m1", At: at, Arrived: at, Source: reading.Cycle, Values: []reading.Value{{State: reading.Good, Number: reading.Number{Mantissa: int64(2301 + 2*slot), Exponent: -1}}}},
				reading.Row{Meter: "m2", At: at, Arrived: at, Source: reading.Cycle, Values: []reading.Value{{State: reading.Missing, Reason: "timeout"}}})
		}
		n := connectNode(t, s, name, nil)
		if v := n.tell(b); v.ID != b.ID || v.Code != 0 {
			t.Fatalf("verdict %+v", v)
		}
		if v := n.tell(b); v.Code != 0 { // told again
			t.Fatalf("verdict %+v", v)
		}
		n.publish(n.topics.Batch(), []byte{1, 77})
		if v := <-n.verdicts; v.ID != 77 || v.Code != http.StatusBadRequest || !v.Final() {
			t.Fatalf("verdict %+v", v)
		}
	}
	s.stop()
	s = startCloud(t, dir)
	window := []string{"--from", began.Add(-time.Hour).Format(time.RFC3339), "--to", began.Add(time.Hour).Format(time.RFC3339)}
	list := func(args ...string) (items []collectedRow) {
		t.Helper()
		out := decode[struct{ Items []collectedRow }](t, mustGnomon(t, s, append(append([]string{"readings", "-o", "json"}, window...), args...)...))
		return out.Items
	}
	all := list()
	if len(all) != 12 || all[0].Node != "n1" || all[0].Values["V"].Value != "230.1" || all[3].Values["V"].Missing != "timeout" {
		t.Errorf("%d rows: %+v", len(all), all)
	}
	if of := list("--node", "n2", "--meter", "m1"); len(of) != 3 {
		t.Errorf("of a meter: %+v", of)
	}
	if of := list("-l", "site=site-n2"); len(of) != 6 || of[0].Node != "n2" {
		t.Errorf("of a site: %+v", of)
	}
	if some := list("--limit", "5"); len(some) != 5 {
		t.Errorf("of five: %+v", some)
	}
	if table := mustGnomon(t, s, append([]string{"readings", "--node", "n1", "--meter", "m2"}, window...)...); strings.Count(table, "(timeout)") != 3 {
		t.Errorf("table:\n%s", table)
	}
	cells, err := csv.NewReader(strings.NewReader(mustGnomon(t, s, append([]string{"readings", "-o", "csv"}, window...)...))).ReadAll()
	if err != nil || len(cells) != 13 || cells[1][5] != "230.1" {
		t.Errorf("csv %q, %v", cells, err)
	}
	if file := mustGnomon(t, s, append([]string{"readings", "export", "--format", "parquet"}, window...)...); !strings.HasPrefix(file, "PAR1") || !strings.HasSuffix(file, "PAR1") {
		t.Errorf("parquet: %.20q…", file)
	}
	inParts(t, s, began)
	counted(t, s, began.In(zone))
}

// inParts reads a list two rows at a time.
func inParts(t *testing.T, s *server, began time.Time) {
	path := s.http + "/v1/readings?limit=2&to=" + began.Add(time.Hour).Format(time.RFC3339)
	n, token := 0, ""
	for range 20 {
		_, _, body := call(t, "GET", path+token, "")
		page := decode[struct {
			Items    []json.RawMessage
			Continue string
		}](t, body)
		if n += len(page.Items); page.Continue == "" {
			break
		}
		token = "&continue=" + page.Continue
	}
	if n != 12 {
		t.Errorf("%d rows in parts, want 12", n)
	}
}

// counted waits until the slots told of count, and looks at the matrix.
func counted(t *testing.T, s *server, began time.Time) {
	day := began.Format(time.DateOnly)
	var m completeness
	for end := time.Now().Add(30 * time.Second); m.KPIs.Stored < 3; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never counted: %+v", m.KPIs)
		}
		m = decode[completeness](t, mustGnomon(t, s, "completeness", "fast", "--node", "n1", "--day", day, "-o", "json"))
	}
	if m.Columns != 1440 || len(m.Meters) != 2 || m.Meters[0].Meter != "m2" || m.Meters[0].Missing["timeout"] != 3 || m.KPIs.Expected < 6 || m.Meters[1].Stored != 3 {
		t.Errorf("%+v", m)
	}
	picture := mustGnomon(t, s, "completeness", "fast", "--node", "n1", "--day", day, "--width", "100")
	for _, line := range strings.Split(picture, "\n") {
		if strings.HasPrefix(line, "m") && len(line) > 100 {
			t.Errorf("%d characters: %q", len(line), line)
		}
	}
	if !strings.Contains(picture, "timeout 3") || !strings.Contains(picture, fmt.Sprintf("fast of n1 on %s (UTC%s)", day, began.Location())) {
		t.Errorf("picture:\n%s", picture)
	}
	k := decode[kpis](t, mustGnomon(t, s, "kpis", "--day", day, "-o", "json"))
	one := decode[kpis](t, mustGnomon(t, s, "kpis", "-l", "site=site-n2", "--day", day, "-o", "json"))
	if k.Policies != 2 || k.Meters != 4 || k.Stored != 6 || one.Policies != 1 || one.Stored != 3 {
		t.Errorf("of all %+v, of a site %+v", k, one)
	}
	if lines, err := csv.NewReader(strings.NewReader(mustGnomon(t, s, "completeness", "fast", "--node", "n1", "--day", day, "-o", "csv"))).ReadAll(); err != nil || len(lines) != 3 {
		t.Errorf("csv %q, %v", lines, err)
	}
}

// A live read goes to the node and back; a node that isn't there, or says nothing,
// is told as such.
func TestReadMeter(t *testing.T) {
	s := startCloud(t, t.TempDir())
	silent := make(chan struct{})
	n := connectNode(t, s, "n1", func(r reading.Read) reading.Answer {
		if r.Meter == "silent" {
			<-silent
		}
		if r.Meter == "unknown" {
			return reading.Answer{ID: r.ID, Error: &reading.Refusal{Code: reading.RefusedUnknown, Message: "policy p has no meter unknown"}}
		}
		number := reading.Number{Mantissa: 2301, Exponent: -1}
		at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		return reading.Answer{ID: r.ID, Values: map[string]reading.ReadValue{r.Items[0]: {Value: &number, At: at, Arrived: at, Source: reading.Demand}}}
	})
	defer close(silent)
	ask := []string{"read", "--node", "n1", "--policy", "p", "--meter", "m1", "--item", "V", "--live"}
	if out := mustGnomon(t, s, ask...); !strings.Contains(out, "230.1") || !strings.Contains(out, "2026-11-21T12:00:00Z") || !strings.Contains(out, "demand") {
		t.Errorf("%s", out)
	}
	for want, args := range map[string][]string{
		"policy p has no meter unknown (unknown)": {"--meter", "unknown"},
		"n9 is not connected to this server":      {"--node", "n9"},
		"try again with a longer deadline":        {"--meter", "silent", "--deadline", "1s"},
		"must be from 1s to 2m":                   {"--deadline", "10m"},
	} {
		if _, err := gnomon(s, append(append([]string{}, ask...), args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
	if _, err := gnomon(s, "read", "--node", n.name, "--policy", "p", "--meter", "m1"); err == nil || !strings.Contains(err.Error(), "gnomon completeness p --node n1") {
		t.Errorf("of nothing: %v", err)
	}
	for path, want := range map[string]int{
		"/v1/readings?from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z": 400, "/v1/readings?continue=x": 400, "/v1/readings?selector=a==b,": 400,
		"/v1/readings/export?format=xlsx": 400, "/v1/readings/export?form=csv": 400, "/v1/readings/export?from=yesterday": 400,
		"/v1/completeness?node=n1": 400, "/v1/completeness?node=n1&policy=p&day=2026-13-01": 400, "/v1/kpis?day=x": 400,
	} {
		if status, _, body := call(t, "GET", s.http+path, ""); status != want || !strings.Contains(body, `"detail"`) {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
}

// A store of readings that can't be opened keeps nobody from the shadows, and says so:
// to who asks whether the cloud is ready, to nodes, which keep what they have, and to
// who looks for readings.
func TestCollected_DamagedStore(t *testing.T) {
	dir := t.TempDir()
	s := startCloud(t, dir)
	call(t, "PUT", s.http+"/v1/nodes/n1", `{"node":{"site":"here"}}`)
	s.stop()
	manifests, err := filepath.Glob(filepath.Join(dir, "readings", "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal(manifests, err)
	}
	for _, name := range manifests {
		if err := os.WriteFile(name, []byte("not what it was"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = startCloudSaying(t, dir, "store of readings can't be used")
	if status, _, body := call(t, "GET", s.http+"/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, _, body := call(t, "GET", s.http+"/v1/nodes/n1", ""); status != http.StatusOK || !strings.Contains(body, "here") {
		t.Errorf("shadows: %d %s", status, body)
	}
	n := connectNode(t, s, "n1", nil)
	at := time.Now().UTC().Truncate(time.Second)
	v := n.tell(&reading.Batch{ID: 7, Policy: "p", Version: 1, Items: []string{"V"}, Rows: []reading.Row{
		{Meter: "m1", At: at, Arrived: at, Source: reading.Cycle, Values: []reading.Value{{State: reading.Good, Number: reading.Number{Mantissa: 1}}}},
	}})
	if v.ID != 7 || v.Code != http.StatusServiceUnavailable || v.Final() {
		t.Errorf("verdict %+v", v)
	}
	for _, path := range []string{"/v1/readings", "/v1/readings?node=n1&policy=p", "/v1/readings/export"} {
		if status, _, body := call(t, "GET", s.http+path, ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "store of readings can't be used") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
