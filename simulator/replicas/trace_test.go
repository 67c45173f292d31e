package replicas

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gnomon/cloud/store/redis/redistest"
	"gnomon/simulator/node"
)

type step struct {
	Step  string `json:"step"`
	State string `json:"state"`
	Text  string `json:"text"`
}

// explain returns one change as a replica tells it, by step.
func explain(t *testing.T, r *replica, path string) (trace, state string, steps map[string]step) {
	t.Helper()
	answer, err := http.Get("http://" + r.cfg.HTTP + path + "/explain")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Change struct {
			Trace string `json:"trace"`
			State string `json:"state"`
			Steps []step `json:"steps"`
		} `json:"change"`
	}
	if err := json.Unmarshal(text, &e); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("explain: %d %s", answer.StatusCode, text)
	}
	steps = map[string]step{}
	for _, s := range e.Change.Steps {
		steps[s.Step] = s
	}
	return e.Change.Trace, e.Change.State, steps
}

// A change that is written through one replica, to a node that is connected to
// another, is told by all of them with all its steps and under one trace; so is
// that the node has left.
func TestTrace(t *testing.T) {
	all := start(t, 3, redistest.Start(t).URL("g"))
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	ctx, leave := context.WithCancel(context.Background())
	n := node.New(node.Config{Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", all[0].door)
	}}, "edge-1", 1)
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() { leave(); <-ended })
	select {
	case <-n.Registered():
	case <-time.After(30 * time.Second):
		t.Fatalf("the node does not register: %v", n.Problem())
	}
	const path = "/v1/nodes/edge-1/apps/web"
	put := func(value int) {
		t.Helper()
		body := fmt.Sprintf(`{"component":"web@1","run":{"env":{"V":"%d"}}}`, value)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+all[1].cfg.HTTP+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("traceparent", "00-"+id+"-00f067aa0ba902b7-01")
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode/100 != 2 {
			t.Fatalf("put: %d", answer.StatusCode)
		}
	}
	put(1)
	for i, r := range all {
		committed := "version 1, at another replica"
		if i == 1 {
			committed = "version 1"
		}
		var trace, state string
		var steps map[string]step
		until(t, fmt.Sprintf("replica %d tells all steps", i), func() bool {
			trace, state, steps = explain(t, r, path)
			return state == "converged" && steps["delivered"].Text == "edge-1 has it on its disk" &&
				steps["published"].Text == "desired push to 1 client"
		})
		if trace != id || steps["committed"].Text != committed || steps["written"].Text != "by operator local, HTTP" || steps["reported"].Text != "running" {
			t.Errorf("replica %d: %s %+v", i, trace, steps)
		}
	}
	leave()
	for i := range all {
		until(t, fmt.Sprintf("replica %d to know that the node is offline", i), func() bool {
			put(2 + i)
			_, state, steps := explain(t, all[i], path)
			return state == "open" && steps["delivered"].State == "missing" && strings.HasPrefix(steps["delivered"].Text, "edge-1 is offline since ")
		})
	}
}
