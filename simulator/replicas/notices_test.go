package replicas

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gnomon/cloud/store/redis/redistest"
)

// get asks a replica over HTTP.
func get(t *testing.T, r *replica, path string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.cfg.HTTP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error() // while it starts
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// listed returns what a replica's index says of shadows: versions by thing.
func listed(t *testing.T, r *replica, parameters string) map[string]uint64 {
	t.Helper()
	status, body := get(t, r, "/v1/shadows?limit=500"+parameters)
	var list struct {
		Items []struct {
			Node    string
			Version uint64
		}
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	versions := make(map[string]uint64)
	for _, item := range list.Items {
		versions[item.Node] = item.Version
	}
	return versions
}

func (r *replica) unready(t *testing.T, wants ...string) {
	t.Helper()
	var status int
	var body string
	defer func() {
		if t.Failed() {
			t.Logf("/readyz: %d %s", status, body)
		}
	}()
	until(t, "not ready for the right reasons", func() bool {
		status, body = get(t, r, "/readyz")
		for _, want := range wants {
			if !strings.Contains(body, want) {
				return false
			}
		}
		return status == http.StatusServiceUnavailable
	})
}

// Subscriptions are cut, and stay so, while another replica writes: what was
// missed is in the index within seconds after they are back, long before the
// index would be read again anyway. A question that names a version it must know
// is answered at once.
func TestMissedNotices(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	all := start(t, 2, server.URL("g"))
	const things = 50
	write := func(value int) (versions map[string]uint64) {
		versions = make(map[string]uint64)
		for i := range things {
			name := fmt.Sprint("thing-", i)
			a, err := all[0].api.UpdateShadow(t.Context(), name, "s", fmt.Appendf(nil, `{"state":{"desired":{"v":%d}}}`, value))
			if err != nil {
				t.Fatal(err)
			}
			versions[name] = a.Version
		}
		return versions
	}
	knows := func(want map[string]uint64) func() bool {
		return func() bool { return fmt.Sprint(listed(t, all[1], "")) == fmt.Sprint(want) }
	}
	until(t, "what is told", knows(write(1)))
	for round := range 3 {
		if answer := server.Do("ACL", "SETUSER", "default", "-ssubscribe"); answer != "OK" {
			t.Fatal(answer)
		}
		if answer := server.Do("CLIENT", "KILL", "TYPE", "pubsub"); answer == "0" {
			t.Fatal("nobody was subscribed")
		}
		all[1].unready(t, "other replicas are not heard on 16 of 16 channels", "NOPERM")
		versions := write(2 + round)
		if got := fmt.Sprint(listed(t, all[1], "")); got == fmt.Sprint(versions) {
			t.Fatal("the replica knows what nobody told it")
		}
		asked := time.Now()
		if got := listed(t, all[1], fmt.Sprintf("&minVersion=thing-7/s@%d", versions["thing-7"])); got["thing-7"] != versions["thing-7"] || time.Since(asked) > 4*time.Second {
			t.Errorf("asked for version %d: %d, after %v", versions["thing-7"], got["thing-7"], time.Since(asked))
		}
		if answer := server.Do("ACL", "SETUSER", "default", "+ssubscribe"); answer != "OK" {
			t.Fatal(answer)
		}
		back := time.Now()
		until(t, "what was missed", knows(versions))
		t.Logf("the index was right %v after the subscription was allowed again", time.Since(back).Round(time.Millisecond))
		all[1].ready()
	}
	status, body := get(t, all[1], "/metrics")
	if status != http.StatusOK || !strings.Contains(body, "gnomon_fanout_missed_total") {
		t.Errorf("metrics: %d", status)
	}
}

// A replica that was killed may have told nobody what it acknowledged last.
func TestKilledBeforeItTold(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	all := start(t, 2, server.URL("g"))
	until(t, "the replicas hear each other", func() bool {
		a, err := all[0].api.UpdateShadow(t.Context(), "t", "s", []byte(`{"state":{"desired":{"v":1}}}`))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		return listed(t, all[1], "")["t"] == a.Version
	})
	// It may no longer publish, which is as if it died before it could.
	if answer := server.Do("ACL", "SETUSER", "default", "-spublish"); answer != "OK" {
		t.Fatal(answer)
	}
	a, err := all[0].api.UpdateShadow(t.Context(), "t", "s", []byte(`{"state":{"desired":{"v":2}}}`))
	if err != nil {
		t.Fatal(err)
	}
	all[0].proc.Kill()
	if got := listed(t, all[1], "")["t"]; got == a.Version {
		t.Fatal("the replica knows what nobody told it")
	}
	began := time.Now()
	until(t, "the last change of a replica that was killed", func() bool { return listed(t, all[1], "")["t"] == a.Version })
	t.Logf("known after %v", time.Since(began).Round(time.Millisecond))
}

// /readyz says what a replica still lacks, and a replica that lost Redis comes
// back by itself.
func TestReadiness(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	if answer := server.Do("ACL", "SETUSER", "default", "-ssubscribe"); answer != "OK" {
		t.Fatal(answer)
	}
	r := spawn(t, server.URL("g"))
	r.unready(t, "other replicas are not heard on 16 of 16 channels", "NOPERM", "the index of shadows is being built")
	if answer := server.Do("ACL", "SETUSER", "default", "+ssubscribe"); answer != "OK" {
		t.Fatal(answer)
	}
	r.ready()
	server.Kill()
	r.unready(t, "other replicas are not heard", "store: redis is away")
	if status, _ := get(t, r, "/livez"); status != http.StatusOK {
		t.Errorf("/livez is %d: a restart would help nobody", status)
	}
	server.Again()
	r.ready()
}
