package endtoend

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	traceOne = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceTwo = "0af7651916cd43dd8448eb211c80319c"
)

func parentOf(trace string) string { return "00-" + trace + "-00f067aa0ba902b7-01" }

// change is one change as explain tells it.
type change struct {
	Version uint64 `json:"version"`
	Trace   string `json:"trace"`
	State   string `json:"state"`
	Steps   []step `json:"steps"`
	Before  []struct {
		Version uint64 `json:"version"`
		Trace   string `json:"trace"`
	} `json:"superseded"`
}

type step struct {
	Step  string    `json:"step"`
	State string    `json:"state"`
	At    time.Time `json:"at"`
	After *float64  `json:"after"`
	Text  string    `json:"text"`
}

func (c change) step(name string) step {
	i := slices.IndexFunc(c.Steps, func(s step) bool { return s.Step == name })
	if i < 0 {
		return step{}
	}
	return c.Steps[i]
}

// names lists the steps by their state.
func (c change) names(state string) (all []string) {
	for _, s := range c.Steps {
		if s.State == state {
			all = append(all, s.Step)
		}
	}
	return all
}

// putTraced is put under a trace, which the answer has to name.
func (c *api) putTraced(node, item, desired, trace string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPut, "http://"+c.cfg.HTTP+"/v1/nodes/"+node+"/"+item, strings.NewReader(desired))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("traceparent", parentOf(trace))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 || answer.Header.Get("traceparent") != parentOf(trace) {
		c.t.Fatalf("put %s: status %d, traceparent %q", item, answer.StatusCode, answer.Header.Get("traceparent"))
	}
}

func (c *api) explain(node, item, query string) change {
	c.t.Helper()
	code, text := c.do(http.MethodGet, "/v1/nodes/"+node+"/"+item+"/explain"+query, "")
	var answer struct {
		Change change `json:"change"`
	}
	if err := json.Unmarshal(text, &answer); code != http.StatusOK || err != nil {
		c.t.Fatalf("explain %s: %d %s", item, code, text)
	}
	return answer.Change
}

// explained waits until the story of a change has a state.
func (c *api) explained(node, item, state string) (last change) {
	c.t.Helper()
	until(c.t, item+" to be told as "+state, func() bool {
		last = c.explain(node, item, "")
		return last.State == state
	})
	return last
}

var allSteps = []string{"written", "committed", "published", "delivered", "planned", "reported", "converged"}

// inOrder checks that steps have times, one after the other.
func (c change) inOrder(t *testing.T) {
	t.Helper()
	var last time.Time
	for _, s := range c.Steps {
		if s.At.Before(last) || s.After == nil {
			t.Errorf("%s at %v, after %v; the one before it at %v", s.Step, s.At, s.After, last)
		}
		last = s.At
	}
}

// A change made through REST shows all its steps, in order, under the trace it
// came with; a stream tells them as they happen, and so does the command line.
func TestTrace_AllSteps(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/web", onHost)
	c.converge(e.name, "apps/web")

	stream := c.steps("kind=trace&thing=" + e.name + "&shadow=app:web")
	c.putTraced(e.name, "apps/web", strings.Replace(onHost, `"run":{`, `"run":{"env":{"A":"1"},`, 1), traceOne)
	told := c.follow(e.name, "--trace", traceOne)
	got := c.explain(e.name, "apps/web", "?trace="+traceOne)
	if got.Trace != traceOne || got.State != "converged" || !slices.Equal(got.names("done"), allSteps) || len(got.Steps) != len(allSteps) {
		t.Fatalf("%+v", got)
	}
	got.inOrder(t)
	for name, text := range map[string]string{
		"written": "by operator local, HTTP", "committed": fmt.Sprintf("version %d", got.Version), "published": "desired push to 1 client",
		"delivered": e.name + " has it on its disk", "planned": "stop +", "reported": "running",
	} {
		if s := got.step(name); !strings.Contains(s.Text, text) {
			t.Errorf("%s says %q, want %q", name, s.Text, text)
		}
	}
	if s := got.step("planned").Text; !strings.Contains(s, "start +") {
		t.Errorf("planned says %q", s)
	}
	for what, names := range map[string][]string{"the stream": stream.until(t, "converged"), "gnomon explain --follow": told} {
		if !slices.Equal(slices.Compact(names), allSteps) {
			t.Errorf("%s tells %v", what, names)
		}
	}
	trace := ""
	e.await("the trace on the node itself", func(s *status) bool {
		for _, a := range s.Applications {
			trace = a.Plan.Trace
		}
		return trace == traceOne
	})
}

// stream is the steps that a stream of server-sent events has told.
type stream struct{ steps chan string }

func (c *api) steps(query string) stream {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.cfg.HTTP+"/v1/events?"+query, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		c.t.Fatalf("events: %v, %v", answer, err)
	}
	s := stream{make(chan string, 100)}
	ended := make(chan struct{})
	c.t.Cleanup(func() { cancel(); <-ended; answer.Body.Close() })
	go func() {
		defer close(ended)
		defer close(s.steps)
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			var e step
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &e) == nil && e.Step != "" {
				s.steps <- e.Step
			}
		}
	}()
	return s
}

// until returns the steps up to one.
func (s stream) until(t *testing.T, last string) (names []string) {
	t.Helper()
	timeout := time.After(patience)
	for len(names) == 0 || names[len(names)-1] != last {
		select {
		case name, ok := <-s.steps:
			if !ok {
				t.Fatalf("the stream ended after %v", names)
			}
			names = append(names, name)
		case <-timeout:
			t.Fatalf("the stream tells %v, and not %s", names, last)
		}
	}
	return names
}

// follow runs gnomon explain --follow until it ends by itself.
func (c *api) follow(node string, args ...string) (names []string) {
	c.t.Helper()
	args = append([]string{"explain", "app", node + "/web", "--server", "http://" + c.cfg.HTTP, "--follow", "--for", patience.String(), "-o", "json"}, args...)
	cmd := exec.CommandContext(c.t.Context(), c.cfg.Binary, args...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			c.t.Logf("%s", exit.Stderr)
		}
		c.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	for line := range bytes.Lines(out) {
		var s step
		if err := json.Unmarshal(line, &s); err != nil {
			c.t.Fatalf("%s: %v", line, err)
		}
		names = append(names, s.Step)
	}
	return names
}

// With the agent stopped, what has not happened is shown as missing, and why;
// what a later write made pointless as superseded. It goes on when the agent does.
func TestTrace_AgentStopped(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.put(e.name, "apps/web", onHost)
	c.converge(e.name, "apps/web")
	e.kill()
	until(t, "the cloud to notice", func() bool {
		c.putTraced(e.name, "apps/web", strings.Replace(onHost, `"run":{`, fmt.Sprintf(`"run":{"env":{"A":"%d"},`, time.Now().UnixNano()), 1), traceOne)
		return c.explain(e.name, "apps/web", "").step("published").Text == "nobody was listening"
	})
	c.putTraced(e.name, "apps/web", strings.Replace(onHost, `"run":{`, `"run":{"env":{"A":"2"},`, 1), traceTwo)
	got := c.explain(e.name, "apps/web", "")
	if got.State != "open" || got.Trace != traceTwo || !slices.Equal(got.names("done"), allSteps[:3]) || !slices.Equal(got.names("missing"), allSteps[3:]) ||
		!strings.HasPrefix(got.step("delivered").Text, e.name+" is offline since ") {
		t.Fatalf("%+v", got)
	}
	if len(got.Before) == 0 || got.Before[0].Trace != traceOne || got.Before[0].Version != got.Version-1 {
		t.Errorf("before it: %+v", got.Before)
	}
	before := c.explain(e.name, "apps/web", fmt.Sprintf("?version=%d", got.Version-1))
	if before.State != "superseded" || before.step("superseded").Text != fmt.Sprintf("by version %d", got.Version) || len(before.names("missing")) > 0 {
		t.Errorf("%+v", before)
	}
	e.start()
	got = c.explained(e.name, "apps/web", "converged")
	if got.Trace != traceTwo || !slices.Equal(got.names("done"), allSteps) || got.step("published").Text != "nobody was listening" {
		t.Fatalf("%+v", got)
	}
	got.inOrder(t)

	// A cloud that has forgotten tells what the document says, and no more.
	c.proc.Kill()
	c.start()
	got = c.explain(e.name, "apps/web", "?trace="+traceTwo)
	if got.State != "converged" || got.Trace != traceTwo || !slices.Equal(got.names("unknown"), []string{"published"}) ||
		!strings.Contains(got.step("planned").Text, "start +") || got.step("delivered").At.IsZero() {
		t.Errorf("after a restart: %+v", got)
	}
}

// What can't be applied shows the failure with its code, and goes on when it is
// mended.
func TestTrace_Failing(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	e.start()
	c.putTraced(e.name, "apps/web", `{"component":"nowhere@1.0.0","mode":"container","run":{"command":["/bin/sh"]}}`, traceOne)
	var got change
	until(t, "the failure", func() bool {
		got = c.explain(e.name, "apps/web", "")
		return got.step("failed").State == "done"
	})
	if got.State != "open" || !strings.HasPrefix(got.step("failed").Text, "component-not-found: ") || !strings.Contains(got.step("planned").Text, "fetch +") ||
		got.step("converged").State != "missing" || got.Trace != traceOne {
		t.Errorf("%+v", got)
	}
	c.putTraced(e.name, "apps/web", `{"mode":"host","run":{"command":["/no/such/program"]}}`, traceTwo)
	got = c.explained(e.name, "apps/web", "failed")
	if !strings.HasPrefix(got.step("failed").Text, "invalid: ") || !strings.HasSuffix(got.step("failed").Text, "it is not tried again") || got.Trace != traceTwo {
		t.Errorf("%+v", got)
	}
	c.put(e.name, "apps/web", onHost)
	got = c.explained(e.name, "apps/web", "converged")
	if got.step("failed").State != "" || len(got.Before) != 2 {
		t.Errorf("%+v", got)
	}
}
